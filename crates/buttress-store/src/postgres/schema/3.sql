-- The head with which each workflow came into being, or an early one. If its present head rots, it is put
-- together from this and from its records, and its idempotency keys stay what they were.
CREATE TABLE birth (LIKE workflow, PRIMARY KEY (namespace, workflow));
INSERT INTO birth SELECT * FROM workflow WHERE life <> 'deleted';

-- Whether the newest version of a step is an intent, in case that rots.
ALTER TABLE step ADD COLUMN begun boolean NOT NULL DEFAULT false;
UPDATE step s SET begun = true FROM record r
WHERE r.born = s.born AND r.version = s.version AND r.status = 'intent';
