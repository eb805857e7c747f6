-- Models that follow their source: triggers write the keys that changed into a queue, a procedure works it off.

CREATE TABLE persona_internal.attachment (
  model_id uuid,
  ordinal int,
  relation persona_internal.relation NOT NULL,
  -- The file that held its rows when they were read last, and the database that this is a file of: what comes from a dump
  -- says nothing of those here.
  filenode oid,
  database oid,
  PRIMARY KEY (model_id, ordinal));

-- A row of keys for each statement, or several. Its id is random, so that writers never wait for each other; a row
-- without keys says that anything may have changed. What a version has read that did not go live stays, with the number
-- of the newest such version.
CREATE TABLE persona_internal.queue (
  model_id uuid,
  change_id uuid,
  user_ids text[],
  queued_at timestamptz NOT NULL,
  read_by int,
  PRIMARY KEY (model_id, change_id));

COMMENT ON TABLE persona_internal.attachment IS 'tables whose changes are queued for a model, as a training read them last: its source and those below it';
COMMENT ON TABLE persona_internal.queue IS 'users whose rows changed since a model was brought up to date; a row without users: anything may have changed';

CREATE TRIGGER only_library BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON persona_internal.attachment
  FOR EACH STATEMENT EXECUTE FUNCTION persona_internal.only_library();
ALTER TABLE persona_internal.attachment ENABLE ALWAYS TRIGGER only_library;
CREATE TRIGGER only_library BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON persona_internal.queue
  FOR EACH STATEMENT EXECUTE FUNCTION persona_internal.only_library();
ALTER TABLE persona_internal.queue ENABLE ALWAYS TRIGGER only_library;

GRANT SELECT ON persona_internal.attachment, persona_internal.queue TO pg_database_owner;
-- What a dump holds of a model is as old as what it holds of the source: the queue says what lies between.
SELECT pg_catalog.pg_extension_config_dump('persona_internal.attachment', '');
SELECT pg_catalog.pg_extension_config_dump('persona_internal.queue', '');

-- The sources of models and what lies below them. A partition that somebody detaches concurrently is below until
-- that has ended.
CREATE VIEW persona_internal.source_table AS
WITH RECURSIVE below AS (
  SELECT m.model_id, s.oid AS relation
  FROM persona_internal.model m
  CROSS JOIN LATERAL pg_catalog.parse_ident(m.spec ->> 'relation') AS source (name)
  JOIN pg_catalog.pg_namespace n ON n.nspname = source.name[1]::name
  JOIN pg_catalog.pg_class s ON s.relnamespace = n.oid AND s.relname = source.name[2]::name
  UNION
  SELECT b.model_id, i.inhrelid FROM below b JOIN pg_catalog.pg_inherits i ON i.inhparent = b.relation)
SELECT b.model_id, b.relation, c.relfilenode AS filenode,
       (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()) AS database
FROM below b JOIN pg_catalog.pg_class c ON c.oid = b.relation;

-- Attached models whose tables are others than those that a training read last: partitions came or went, or a table was
-- written anew, by ALTER TABLE or VACUUM FULL. No trigger tells of that.
CREATE VIEW persona_internal.moved AS
SELECT t.model_id
FROM persona_internal.source_table t
JOIN (SELECT DISTINCT a.model_id FROM persona_internal.attachment a) attached ON attached.model_id = t.model_id
LEFT JOIN persona_internal.attachment a ON a.model_id = t.model_id AND a.relation::oid = t.relation
WHERE a.relation IS NULL OR a.database = t.database AND a.filenode <> t.filenode
UNION
SELECT a.model_id
FROM persona_internal.attachment a
WHERE EXISTS (SELECT FROM persona_internal.source_table t WHERE t.model_id = a.model_id)
  AND NOT EXISTS (SELECT FROM persona_internal.source_table t WHERE t.model_id = a.model_id AND t.relation = a.relation::oid);
GRANT SELECT ON persona_internal.source_table, persona_internal.moved TO pg_database_owner;
COMMENT ON VIEW persona_internal.source_table IS 'tables at and below the sources of models';
COMMENT ON VIEW persona_internal.moved IS 'attached models whose tables are not those that a training read last';

CREATE FUNCTION persona._queue_changes() RETURNS trigger
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'persona_queue_changes';
COMMENT ON FUNCTION persona._queue_changes() IS
  'The trigger function that persona.attach() binds to the source of a model; its argument is the id of the model. Queues the users of the changed rows; never fails the statement: what goes wrong is a WARNING. 39P01 outside of a trigger.';

CREATE FUNCTION persona.attach(model text, options jsonb DEFAULT '{}') RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'persona_attach';
COMMENT ON FUNCTION persona.attach(text, jsonb) IS
$$Makes a recommender follow its source: from now on each statement that changes the source queues the users whose rows it changed, and persona.work_queue() works the queue off. Triggers are made on the source and on all partitions and tables below it; called again, on those that came since. The first work-off reads everything, for nobody knows what changed before.
options: replica (bool, default: as it is, at first false) also queues what logical replication brings in, row by row.
For the owner of the model who also owns these tables (42501). 42809 for a model that is no recommender; 0A000 where the source, or a partition of it, can have no such triggers: views, materialized views, foreign tables. Waits for writers of the source.$$;

CREATE FUNCTION persona.detach(model text) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'persona_detach';
COMMENT ON FUNCTION persona.detach(text) IS
  'Ends what persona.attach() began: drops the triggers and empties the queue of a model. Nothing happens where it is not attached. For the owner of the model (42501). Waits for readers and writers of the source.';

CREATE VIEW persona.queue WITH (security_barrier) AS
WITH moved AS MATERIALIZED (SELECT d.model_id FROM persona_internal.moved d)
SELECT m.relation::oid::regclass::text AS model, q.pending, q.oldest, q.lost, q.kept_back
FROM persona_internal.model m
CROSS JOIN LATERAL (
  SELECT coalesce(sum(cardinality(c.user_ids)), 0)::bigint AS pending,
         coalesce(min(c.queued_at), CASE WHEN moved.yes THEN pg_catalog.statement_timestamp() END) AS oldest,
         coalesce(bool_or(c.model_id IS NOT NULL AND c.user_ids IS NULL), false) OR moved.yes AS lost,
         -- A version that is not stored any more cannot go live: nobody has what it read.
         CASE WHEN bool_and(coalesce(v.stored, false)) AND NOT moved.yes THEN max(c.read_by) END AS kept_back
  FROM (SELECT EXISTS (SELECT FROM moved d WHERE d.model_id = m.model_id) AS yes) moved
  LEFT JOIN persona_internal.queue c ON c.model_id = m.model_id
  LEFT JOIN persona_internal.version v ON v.model_id = c.model_id AND v.version = c.read_by
  GROUP BY moved.yes) q
WHERE EXISTS (SELECT FROM persona_internal.attachment a WHERE a.model_id = m.model_id)
  AND pg_catalog.has_table_privilege(m.relation::oid, 'SELECT');
COMMENT ON VIEW persona.queue IS 'what waits for the next work-off of each attached model that you may use';
COMMENT ON COLUMN persona.queue.model IS 'name under which this session finds the model';
COMMENT ON COLUMN persona.queue.pending IS 'changed users that wait; who changed in several statements counts in each';
COMMENT ON COLUMN persona.queue.oldest IS 'when the oldest change was queued, now if only the tables themselves changed; NULL if nothing waits';
COMMENT ON COLUMN persona.queue.lost IS 'whether anything may have changed, so that the next work-off reads the whole source: after attach, TRUNCATE, a change that could not be queued, partitions that came or went, or a table that was written anew';
COMMENT ON COLUMN persona.queue.kept_back IS 'version that has read all that waits and did not go live, so that the next work-off has nothing to do; persona.deploy() of it empties the queue. NULL where something was not read yet';

CREATE PROCEDURE persona.work_queue(model text DEFAULT NULL, max_seconds float8 DEFAULT NULL)
LANGUAGE plpgsql AS $$
DECLARE
  started CONSTANT pg_catalog.timestamptz := pg_catalog.clock_timestamp();
  waiting pg_catalog.text[];
  name pg_catalog.text;
  lost pg_catalog.bool;
  detail pg_catalog.text;
  hint pg_catalog.text;
BEGIN
  CALL persona._outside_block('persona.work_queue()');
  IF work_queue.max_seconds OPERATOR(pg_catalog.<=) 0 OR work_queue.max_seconds OPERATOR(pg_catalog.=) 'NaN' THEN
    RAISE EXCEPTION '"max_seconds" must be above 0, got %', work_queue.max_seconds USING ERRCODE = 'invalid_parameter_value';
  END IF;
  IF work_queue.model IS NOT NULL AND NOT EXISTS (
    SELECT FROM persona.queue q
    WHERE pg_catalog.to_regclass(q.model) OPERATOR(pg_catalog.=) pg_catalog.to_regclass(work_queue.model)) THEN
    RAISE EXCEPTION 'model "%" is not attached', work_queue.model
      USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'The view persona.queue lists the attached models that you may use; SELECT persona.attach(...) attaches one.';
  END IF;
  IF work_queue.model IS NOT NULL AND NOT EXISTS (
    SELECT FROM pg_catalog.pg_class c
    WHERE c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(work_queue.model)::pg_catalog.oid
      AND pg_catalog.pg_has_role(c.relowner, 'USAGE')) THEN
    RAISE EXCEPTION 'must be owner of model "%"', work_queue.model USING ERRCODE = 'insufficient_privilege';
  END IF;
  SELECT pg_catalog.array_agg(q.model ORDER BY q.oldest) INTO waiting
  FROM persona.queue q
  JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) pg_catalog.to_regclass(q.model)::pg_catalog.oid
  WHERE q.oldest IS NOT NULL AND q.kept_back IS NULL AND pg_catalog.pg_has_role(c.relowner, 'USAGE')
    AND (work_queue.model IS NULL
         OR pg_catalog.to_regclass(q.model) OPERATOR(pg_catalog.=) pg_catalog.to_regclass(work_queue.model));
  COMMIT;
  FOREACH name IN ARRAY COALESCE(waiting, '{}') LOOP
    EXIT WHEN EXTRACT(epoch FROM pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) started)::pg_catalog.float8
              OPERATOR(pg_catalog.>=) work_queue.max_seconds;
    BEGIN
      -- Another session may have worked it off meanwhile.
      SELECT q.lost INTO lost FROM persona.queue q
      WHERE q.model OPERATOR(pg_catalog.=) name AND q.oldest IS NOT NULL AND q.kept_back IS NULL;
      IF lost THEN
        PERFORM persona.retrain(name);
      ELSIF NOT lost THEN
        BEGIN
          PERFORM persona.update_model(name);
        EXCEPTION
          -- Of the class of object_not_in_prerequisite_state, whose name stands for all of the class.
          WHEN lock_not_available THEN RAISE;
          -- A model that cannot follow the changed rows alone, or a version that is too old to.
          WHEN feature_not_supported OR object_not_in_prerequisite_state THEN PERFORM persona.retrain(name);
          -- A training from all rows lists no users: a queue that is too long for the memory is worked off all the same.
          WHEN out_of_memory THEN
            RAISE LOG 'model "%" is trained from all rows: %', name, SQLERRM;
            PERFORM persona.retrain(name);
        END;
      END IF;
    EXCEPTION
      WHEN lock_not_available THEN NULL;  -- somebody trains it right now
      WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
        RAISE WARNING 'model "%" was not brought up to date: %', name, SQLERRM
          USING ERRCODE = SQLSTATE,
                DETAIL = pg_catalog.ltrim(pg_catalog.concat(detail, ' Its queue is kept; the other models go on.')),
                HINT = pg_catalog.ltrim(pg_catalog.concat(hint, ' persona.check() may tell more.'));
    END; COMMIT;
  END LOOP;
END $$;
COMMENT ON PROCEDURE persona.work_queue(text, float8) IS
$$Brings attached models up to date, by persona.update_model() where they can follow the changed rows alone and by persona.retrain() otherwise, also if the list of changed users is too long for persona.max_memory, which the server log then says: those with something in their queue that no version has read yet and that the caller may train, or the one named, the longest waiting first, each in a transaction of its own. What one of them fails with is a WARNING, and the next one goes on; one that is being trained elsewhere is left out, so that several sessions may run it at once. No further model is begun after max_seconds (above 0; NULL: no limit).
CALL it outside of a transaction block (25001). 22023 for max_seconds, 42501 where the named model is not the caller's, 55000 where it is not attached.$$;
