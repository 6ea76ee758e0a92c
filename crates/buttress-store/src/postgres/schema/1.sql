-- Nothing but the schema is searched for names.

-- Epochs: never handed out twice, and a later one is greater. No cache: a session that kept some for
-- later would hand them out too late.
CREATE SEQUENCE epoch AS bigint NO CYCLE;

-- One row a workflow: who may write it, and where its history stands. Times are milliseconds since 1970
-- by the clock of the server.
CREATE TABLE workflow (
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
CREATE INDEX workflow_open ON workflow (namespace) WHERE life = 'open';

-- The histories. What counts is what is sealed; the other columns are for people and for retention.
CREATE TABLE record (
    born       bigint NOT NULL,
    version    bigint NOT NULL,
    step       text COLLATE "C" NOT NULL,
    occurrence bigint NOT NULL,
    status     text   NOT NULL,
    created    timestamptz NOT NULL DEFAULT clock_timestamp(),
    sealed     bytea  NOT NULL,
    PRIMARY KEY (born, version)
);

-- What the server compresses with by default takes longer than to write 64 KiB. Not every server has
-- another.
DO $$ BEGIN
    EXECUTE 'ALTER TABLE record ALTER COLUMN sealed SET COMPRESSION lz4';
EXCEPTION WHEN syntax_error OR feature_not_supported THEN
    ALTER TABLE record ALTER COLUMN sealed SET STORAGE EXTERNAL;
END $$;

-- The newest version of each step.
CREATE TABLE step (
    born       bigint NOT NULL,
    step       text COLLATE "C" NOT NULL,
    occurrence bigint NOT NULL,
    version    bigint NOT NULL,
    PRIMARY KEY (born, step, occurrence)
) WITH (fillfactor = 70);
