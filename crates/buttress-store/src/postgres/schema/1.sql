-- Epochs: never handed out twice, and a later one is greater. No cache: a session that kept some for
-- later would hand them out too late.
CREATE SEQUENCE {schema}.epoch AS bigint NO CYCLE;

-- One row a workflow: who may write it, and where its history stands. Times are milliseconds since 1970
-- by the clock of the server.
CREATE TABLE {schema}.workflow (
    namespace   text COLLATE "C" NOT NULL,
    workflow    text COLLATE "C" NOT NULL,
    born        bigint NOT NULL UNIQUE,
    epoch       bigint NOT NULL,
    lineage     bytea  NOT NULL,
    owner       text,
    until       bigint,
    latest      bigint NOT NULL,
    digest      bytea  NOT NULL,
    floor       bigint NOT NULL,
    life        text   NOT NULL,
    pending     bigint NOT NULL,
    forked_from text,
    forked_at   bigint,
    touched     bigint NOT NULL,
    -- SHA-256 over all of the above. Every write says which seal it takes the place of.
    seal        bytea  NOT NULL,
    PRIMARY KEY (namespace, workflow)
) WITH (fillfactor = 70);

-- For `claim`. Only the life is in it, so that all else can change in place.
CREATE INDEX workflow_open ON {schema}.workflow (namespace) WHERE life = 'open';

-- The histories. What counts is what is sealed; the other columns are for people and for retention.
CREATE TABLE {schema}.record (
    born       bigint NOT NULL,
    version    bigint NOT NULL,
    step       text COLLATE "C" NOT NULL,
    occurrence bigint NOT NULL,
    status     text   NOT NULL,
    created    timestamptz NOT NULL DEFAULT clock_timestamp(),
    sealed     bytea  NOT NULL,
    PRIMARY KEY (born, version)
);

-- The newest version of each step.
CREATE TABLE {schema}.step (
    born       bigint NOT NULL,
    step       text COLLATE "C" NOT NULL,
    occurrence bigint NOT NULL,
    version    bigint NOT NULL,
    PRIMARY KEY (born, step, occurrence)
) WITH (fillfactor = 70);
