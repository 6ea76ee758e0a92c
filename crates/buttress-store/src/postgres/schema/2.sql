-- For people: how the workflows are, with times that can be read.
CREATE VIEW overview AS
SELECT
    namespace,
    workflow,
    life,
    latest,
    pending,
    epoch,
    CASE WHEN until > extract(epoch FROM clock_timestamp()) * 1000 THEN owner END AS held_by,
    -- 9999-12-31, for who holds it for ever.
    to_timestamp(least(until, 253402214400000) / 1000.0) AS until,
    to_timestamp(touched / 1000.0) AS touched,
    forked_from,
    forked_at
FROM workflow;
