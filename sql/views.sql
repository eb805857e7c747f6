-- What people look at. Each view shows the models that the reader may be served by: the tables below are read
-- as the owner of the view, has_table_privilege() asks about the reader.

CREATE VIEW persona.models WITH (security_barrier) AS
SELECT m.relation::oid::regclass::text AS model, m.kind, v.algorithm, d.version, v.trained_at, d.deployed_at,
       pg_catalog.pg_get_userbyid(c.relowner) AS owner, m.spec ->> 'relation' AS relation,
       v.rows_used, v.rows_skipped, v.users, v.items, v.metric, v.value, v.baseline, v.bytes
FROM persona_internal.model m
JOIN pg_catalog.pg_class c ON c.oid = m.relation::oid
LEFT JOIN LATERAL (SELECT * FROM persona_internal.deployment l WHERE l.model_id = m.model_id
                   ORDER BY l.deployment_id DESC LIMIT 1) d ON true
LEFT JOIN persona_internal.version v ON v.model_id = m.model_id AND v.version = d.version
WHERE pg_catalog.has_table_privilege(m.relation::oid, 'SELECT');
COMMENT ON VIEW persona.models IS 'the models that you may use, with the facts of their live versions';
COMMENT ON COLUMN persona.models.model IS 'name under which this session finds the model';
COMMENT ON COLUMN persona.models.kind IS 'recommender, kmeans or rfm';
COMMENT ON COLUMN persona.models.algorithm IS 'what the live version was trained by';
COMMENT ON COLUMN persona.models.version IS 'the live version; NULL where none is deployed';
COMMENT ON COLUMN persona.models.trained_at IS 'when the live version was trained';
COMMENT ON COLUMN persona.models.deployed_at IS 'when it went live';
COMMENT ON COLUMN persona.models.owner IS 'role that trains, deploys and drops the model';
COMMENT ON COLUMN persona.models.relation IS 'what the model is trained from';
COMMENT ON COLUMN persona.models.rows_used IS 'rows that the live version learned from';
COMMENT ON COLUMN persona.models.rows_skipped IS 'rows that were left out';
COMMENT ON COLUMN persona.models.users IS 'users that the live version knows; of rfm the customers that it learned from';
COMMENT ON COLUMN persona.models.items IS 'items that the live version knows';
COMMENT ON COLUMN persona.models.metric IS 'what value and baseline are; NULL without a holdout';
COMMENT ON COLUMN persona.models.value IS 'metric of the live version: on held-out rows, 0 to 1; of segments the silhouette, -1 to 1';
COMMENT ON COLUMN persona.models.baseline IS 'metric of the most popular items on the same rows';
COMMENT ON COLUMN persona.models.bytes IS 'size of the live version: on disk, in memory of each connection that uses it, and in a dump';

CREATE VIEW persona.versions WITH (security_barrier) AS
SELECT m.relation::oid::regclass::text AS model, v.version, v.version IS NOT DISTINCT FROM d.version AS is_live,
       -- Of the few that should be: a dump may lack the pieces.
       v.stored AND (SELECT true FROM persona_internal.chunk k WHERE k.image_id = v.image_id LIMIT 1) IS NOT NULL AS is_stored,
       v.algorithm, v.trained_at, v.trained_by, v.rows_used, v.rows_skipped, v.users, v.items, v.iterations, v.converged,
       v.metric, v.value, v.baseline, v.live_value, v.seconds, v.bytes, v.deploy_reason, v.hyperparameters
FROM persona_internal.model m
JOIN persona_internal.version v ON v.model_id = m.model_id
LEFT JOIN LATERAL (SELECT * FROM persona_internal.deployment l WHERE l.model_id = m.model_id
                   ORDER BY l.deployment_id DESC LIMIT 1) d ON true
WHERE pg_catalog.has_table_privilege(m.relation::oid, 'SELECT');
COMMENT ON VIEW persona.versions IS 'the versions of the models that you may use: the newest "keep_log" of each, and older ones that still matter';
COMMENT ON COLUMN persona.versions.model IS 'name under which this session finds the model';
COMMENT ON COLUMN persona.versions.version IS 'number of the version, from 1';
COMMENT ON COLUMN persona.versions.is_live IS 'whether it serves';
COMMENT ON COLUMN persona.versions.is_stored IS 'whether it can still be deployed: the newest versions are kept';
COMMENT ON COLUMN persona.versions.algorithm IS 'what it was trained by';
COMMENT ON COLUMN persona.versions.trained_at IS 'when its training ended';
COMMENT ON COLUMN persona.versions.trained_by IS 'role that it was trained as';
COMMENT ON COLUMN persona.versions.rows_used IS 'rows that it learned from';
COMMENT ON COLUMN persona.versions.rows_skipped IS 'rows that were left out';
COMMENT ON COLUMN persona.versions.users IS 'users that it knows; of rfm the customers that it learned from';
COMMENT ON COLUMN persona.versions.items IS 'items that it knows';
COMMENT ON COLUMN persona.versions.iterations IS 'iterations of the published fit';
COMMENT ON COLUMN persona.versions.converged IS 'whether the last iteration changed the loss by less than a thousandth; of kmeans whether the centres stopped moving within max_iterations';
COMMENT ON COLUMN persona.versions.metric IS 'what value and baseline are; NULL without a holdout';
COMMENT ON COLUMN persona.versions.value IS 'metric on held-out rows, 0 to 1; of segments the silhouette, -1 to 1';
COMMENT ON COLUMN persona.versions.baseline IS 'metric of the most popular items on the same rows';
COMMENT ON COLUMN persona.versions.live_value IS 'stored value of the version that was live when this one was trained';
COMMENT ON COLUMN persona.versions.seconds IS 'seconds of the training';
COMMENT ON COLUMN persona.versions.bytes IS 'size of the version';
COMMENT ON COLUMN persona.versions.deploy_reason IS 'why the training made it live, or why not';
COMMENT ON COLUMN persona.versions.hyperparameters IS 'the settings that were used, and how many rows were skipped for which reason';

CREATE VIEW persona.metrics WITH (security_barrier) AS
SELECT m.relation::oid::regclass::text AS model, r.version, r.version IS NOT DISTINCT FROM d.version AS is_live, v.trained_at,
       r.metric, r.k, r.slice, r.value, r.baseline, r.ci_low, r.ci_high
FROM persona_internal.model m
JOIN persona_internal.metric r ON r.model_id = m.model_id
JOIN persona_internal.version v ON v.model_id = r.model_id AND v.version = r.version
LEFT JOIN LATERAL (SELECT * FROM persona_internal.deployment l WHERE l.model_id = m.model_id
                   ORDER BY l.deployment_id DESC LIMIT 1) d ON true
WHERE pg_catalog.has_table_privilege(m.relation::oid, 'SELECT');
COMMENT ON VIEW persona.metrics IS 'holdout figures of the versions, one row each: what a chart of model quality reads';
COMMENT ON COLUMN persona.metrics.model IS 'name under which this session finds the model';
COMMENT ON COLUMN persona.metrics.version IS 'number of the version';
COMMENT ON COLUMN persona.metrics.is_live IS 'whether the version serves';
COMMENT ON COLUMN persona.metrics.trained_at IS 'when its training ended';
COMMENT ON COLUMN persona.metrics.metric IS 'precision, recall, ndcg, map, hit_rate, mrr, novelty, coverage or gini, with its cutoff: ndcg@10; of ratings rmse and mae; of segments silhouette and inertia';
COMMENT ON COLUMN persona.metrics.k IS 'the cutoff, 0 without one; of segments their number';
COMMENT ON COLUMN persona.metrics.slice IS 'which users: all';
COMMENT ON COLUMN persona.metrics.value IS 'the figure; 0 to 1 but for those of segments';
COMMENT ON COLUMN persona.metrics.baseline IS 'the figure of the most popular items on the same rows';
COMMENT ON COLUMN persona.metrics.ci_low IS 'lower end of the 95 % interval over users (normal approximation)';
COMMENT ON COLUMN persona.metrics.ci_high IS 'upper end of the interval';

CREATE VIEW persona.training_log WITH (security_barrier) AS
SELECT m.relation::oid::regclass::text AS model, l.version, l.iteration, l.phase, l.loss, l.validation, l.seconds
FROM persona_internal.model m
JOIN persona_internal.training_log l ON l.model_id = m.model_id
WHERE pg_catalog.has_table_privilege(m.relation::oid, 'SELECT')
ORDER BY m.model_id, l.version, l.ordinal;
COMMENT ON VIEW persona.training_log IS 'what each training did, phase by phase and iteration by iteration';
COMMENT ON COLUMN persona.training_log.model IS 'name under which this session finds the model';
COMMENT ON COLUMN persona.training_log.version IS 'version that was trained';
COMMENT ON COLUMN persona.training_log.iteration IS 'iteration of the published fit; NULL for a whole phase';
COMMENT ON COLUMN persona.training_log.phase IS 'read, sort, split, holdout fit, evaluate, fit, match, encode segments, encode, write, members or history; of an update also find, merge and compare; with features read features, sort features and map features';
COMMENT ON COLUMN persona.training_log.loss IS 'training loss after the iteration';
COMMENT ON COLUMN persona.training_log.validation IS 'validation figure after the iteration, where the algorithm has one';
COMMENT ON COLUMN persona.training_log.seconds IS 'seconds of the phase, or from the start of the fit to the end of the iteration';

CREATE FUNCTION persona_internal.training_progress(
  OUT pid int, OUT backend_start timestamptz, OUT role oid, OUT model text, OUT algorithm text, OUT phase text, OUT iteration int,
  OUT iterations int, OUT fraction float8, OUT rows_read bigint, OUT memory_bytes bigint, OUT started_at timestamptz, OUT eta timestamptz)
  RETURNS SETOF record LANGUAGE c VOLATILE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'persona_training_progress';
COMMENT ON FUNCTION persona_internal.training_progress() IS 'behind the view persona.training_progress: the records that the caller may see';

-- pg_stat_activity shows others when a backend of theirs began to nobody else.
CREATE FUNCTION persona_internal.still_runs(pid int, backend_start timestamptz) RETURNS bool
  LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
  BEGIN ATOMIC
    SELECT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a
                   WHERE a.pid = still_runs.pid AND a.backend_start = still_runs.backend_start);
  END;
COMMENT ON FUNCTION persona_internal.still_runs(int, timestamptz) IS 'whether the backend of a record still runs';

CREATE VIEW persona.training_progress WITH (security_barrier) AS
SELECT p.pid, p.model, p.algorithm, p.phase, p.iteration, p.iterations, p.fraction, p.rows_read, p.memory_bytes, p.started_at, p.eta
FROM persona_internal.training_progress() p
WHERE persona_internal.still_runs(p.pid, p.backend_start);
COMMENT ON VIEW persona.training_progress IS 'trainings that run now: your own, and all for members of pg_read_all_stats';
COMMENT ON COLUMN persona.training_progress.pid IS 'process of the training, as in pg_stat_activity';
COMMENT ON COLUMN persona.training_progress.model IS 'name of the model as it was given';
COMMENT ON COLUMN persona.training_progress.algorithm IS 'what is trained';
COMMENT ON COLUMN persona.training_progress.phase IS 'read, sort, split, holdout fit, evaluate, fit, match, encode segments, encode, write, members or history; of an update also find, merge and compare; with features read features, sort features and map features';
COMMENT ON COLUMN persona.training_progress.iteration IS 'iterations done of the phase';
COMMENT ON COLUMN persona.training_progress.iterations IS 'iterations of the phase; 0 where it has none';
COMMENT ON COLUMN persona.training_progress.fraction IS 'part of the phase that is done, 0 to 1';
COMMENT ON COLUMN persona.training_progress.rows_read IS 'rows read so far';
COMMENT ON COLUMN persona.training_progress.memory_bytes IS 'bytes held, of persona.max_memory';
COMMENT ON COLUMN persona.training_progress.started_at IS 'when the training began';
COMMENT ON COLUMN persona.training_progress.eta IS 'when the present phase would end at its present pace; NULL where nothing can be said';

-- What persona.check() tells; rows of models without a view are for the owner of the database, and for those of their tables.
CREATE VIEW persona_internal.problems WITH (security_barrier) AS
WITH mine AS (
  SELECT m.*, m.relation::oid::regclass::text AS name, c.relowner,
         -- Found by name without asking for a right on the schema: the reader of a model needs none.
         (SELECT s.oid FROM pg_catalog.pg_class s JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace
          WHERE ARRAY[n.nspname::text, s.relname::text] = pg_catalog.parse_ident(m.spec ->> 'relation')) AS source
  FROM persona_internal.model m JOIN pg_catalog.pg_class c ON c.oid = m.relation::oid
  WHERE pg_catalog.has_table_privilege(m.relation::oid, 'SELECT')),
live AS (
  SELECT m.model_id, d.version, d.image_id
  FROM mine m
  CROSS JOIN LATERAL (SELECT * FROM persona_internal.deployment l WHERE l.model_id = m.model_id
                      ORDER BY l.deployment_id DESC LIMIT 1) d),
-- Functions that serve one of these models and belong to somebody else.
foreign_functions AS (
  SELECT DISTINCT m.name AS model, m.relowner, p.oid, p.proname, p.proowner, p.prosecdef, p.pronamespace
  FROM mine m
  JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid = m.relation::oid
                             AND d.classid = 'pg_catalog.pg_proc'::regclass
  JOIN pg_catalog.pg_proc p ON p.oid = d.objid AND p.proowner <> m.relowner
                           AND p.proname ~ '_(recommend|similar_items|recommend_for_items|recommend_own)$'
  JOIN pg_catalog.pg_depend u ON u.classid = 'pg_catalog.pg_proc'::regclass AND u.objid = p.oid
                             AND u.refclassid = 'pg_catalog.pg_proc'::regclass
  JOIN pg_catalog.pg_proc s ON s.oid = u.refobjid
  WHERE s.pronamespace = 'persona'::regnamespace
    AND s.proname IN ('_recommend', '_similar_items', '_recommend_for_items')),
-- Tables of models whose view is gone.
left_over AS (
  SELECT m.model_id, m.last_name, c.oid, c.relowner, o.word
  FROM persona_internal.model m JOIN persona_internal.output o USING (model_id) JOIN pg_catalog.pg_class c ON c.oid = o.relation::oid
  WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class v WHERE v.oid = m.relation::oid))
SELECT 'error' AS level, m.name AS model, 'no version is deployed' AS message,
       coalesce((SELECT 'SELECT persona.deploy(' || pg_catalog.quote_literal(m.name) || ', ' || max(v.version) || ');'
                 FROM persona_internal.version v
                 WHERE v.model_id = m.model_id AND v.stored
                   AND EXISTS (SELECT FROM persona_internal.chunk c WHERE c.image_id = v.image_id)
                 HAVING count(*) > 0),
                'SELECT persona.retrain(' || pg_catalog.quote_literal(m.name) || ');') AS hint
FROM mine m WHERE NOT EXISTS (SELECT FROM live l WHERE l.model_id = m.model_id)
UNION ALL
SELECT 'error', m.name, 'the data of version ' || l.version || ' are not stored here',
       'SELECT persona.retrain(' || pg_catalog.quote_literal(m.name) || ');'
FROM mine m JOIN live l ON l.model_id = m.model_id
WHERE NOT EXISTS (SELECT FROM persona_internal.chunk c WHERE c.image_id = l.image_id)
UNION ALL
SELECT 'error', m.name, 'somebody replaced the body of its view',
       'CREATE OR REPLACE VIEW ' || m.name || ' AS SELECT * FROM persona.model_facts(' || pg_catalog.quote_literal(m.model_id) || '::uuid);'
FROM mine m WHERE persona_internal.model_of(m.relation::oid) IS DISTINCT FROM m.model_id
UNION ALL
SELECT 'warning', m.name,
       'version ' || l.version || CASE v.metric WHEN 'rmse' THEN ' errs more than the items'' means' ELSE ' ranks below popularity' END,
       'Train on more interactions, or try other settings.'
FROM mine m JOIN live l ON l.model_id = m.model_id
JOIN persona_internal.version v ON v.model_id = l.model_id AND v.version = l.version
WHERE CASE v.metric WHEN 'rmse' THEN v.value > v.baseline ELSE v.value < v.baseline END
UNION ALL
SELECT 'warning', m.name, 'its source ' || (m.spec ->> 'relation') || ' does not exist',
       'SELECT persona.alter_model(' || pg_catalog.quote_literal(m.name) || ', relation => ...);'
FROM mine m WHERE m.source IS NULL
UNION ALL
SELECT 'warning', m.name, 'its ' || f.key || ' ' || f.relation || ' does not exist',
       'SELECT persona.alter_model(' || pg_catalog.quote_literal(m.name) || ', column_map => ''{"' || f.key || '": {"relation": ...}}'');'
FROM mine m
CROSS JOIN LATERAL (
  SELECT k.key, m.spec -> 'options' -> k.key ->> 'relation' AS relation
  FROM (VALUES ('item_features'), ('user_features'), ('segments')) k (key)) f
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class s JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace
                  WHERE ARRAY[n.nspname::text, s.relname::text] = pg_catalog.parse_ident(f.relation))
  AND f.relation IS NOT NULL
UNION ALL
SELECT 'warning', m.name, 'column "' || r.name || '" of its source ' || (m.spec ->> 'relation') || ' does not exist',
       'SELECT persona.alter_model(' || pg_catalog.quote_literal(m.name) || ', column_map => ''{"' || r.role || '": ...}'');'
FROM mine m
CROSS JOIN LATERAL (
  SELECT e.key AS role, c.name
  FROM pg_catalog.jsonb_each(m.spec) e
  CROSS JOIN LATERAL pg_catalog.jsonb_array_elements_text(
    CASE pg_catalog.jsonb_typeof(e.value) WHEN 'array' THEN e.value ELSE pg_catalog.jsonb_build_array(e.value) END) c(name)
  WHERE e.key ~ '_columns?$' AND c.name IS NOT NULL) r
WHERE m.source IS NOT NULL
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid = m.source AND a.attname = r.name::name
                    AND a.attnum > 0 AND NOT a.attisdropped)
UNION ALL
SELECT 'warning', f.model, 'function ' || f.oid::regprocedure || ' beside it belongs to ' || pg_catalog.pg_get_userbyid(f.proowner),
       'ALTER FUNCTION ' || f.oid::regprocedure || ' OWNER TO ' || pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(f.relowner)) || ';'
FROM foreign_functions f WHERE NOT f.prosecdef
UNION ALL
-- Made anew and not given away: what it does with the owner's rights is what stands in it.
SELECT 'warning', f.model, 'function ' || f.oid::regprocedure || ', published with SECURITY DEFINER, runs as ' || pg_catalog.pg_get_userbyid(f.proowner),
       'DROP FUNCTION ' || f.oid::regprocedure
         || CASE WHEN f.proname LIKE '%\_recommend\_own' THEN '; SELECT persona.publish_own('
                 ELSE '; and when all of them are dropped: SELECT persona.publish(' END
         || pg_catalog.quote_literal(f.model) || ', ' || pg_catalog.quote_literal(n.nspname)
         || CASE WHEN f.proname LIKE '%\_recommend\_own' THEN ', ...);' ELSE ', security_definer => true);' END
FROM foreign_functions f JOIN pg_catalog.pg_namespace n ON n.oid = f.pronamespace
WHERE f.prosecdef AND pg_catalog.obj_description(f.oid, 'pg_proc') LIKE '% Published by persona.publish().'
UNION ALL
SELECT 'error', m.name, 'its table of the ' || o.word || ' is gone',
       'Drop the model with persona.drop_model(' || pg_catalog.quote_literal(m.name) || ') and train it again.'
FROM mine m JOIN persona_internal.output o ON o.model_id = m.model_id
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = o.relation::oid)
UNION ALL
SELECT 'warning', m.name, 'table ' || c.oid::regclass || ' beside it belongs to ' || pg_catalog.pg_get_userbyid(c.relowner),
       'ALTER TABLE ' || c.oid::regclass || ' OWNER TO ' || pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(m.relowner)) || ';'
FROM mine m JOIN persona_internal.output o ON o.model_id = m.model_id
JOIN pg_catalog.pg_class c ON c.oid = o.relation::oid AND c.relowner <> m.relowner
UNION ALL
SELECT 'warning', m.name, 'changes of ' || b.relation::regclass || ' are not queued',
       'SELECT persona.attach(' || pg_catalog.quote_literal(m.name) || ');'
FROM mine m
CROSS JOIN LATERAL (
  WITH RECURSIVE below AS (
    SELECT m.source AS relation
    UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN below ON i.inhparent = below.relation)
  SELECT relation FROM below) b
WHERE m.source IS NOT NULL AND EXISTS (SELECT FROM persona_internal.attachment a WHERE a.model_id = m.model_id)
  AND (NOT EXISTS (SELECT FROM persona_internal.attachment a WHERE a.model_id = m.model_id AND a.relation::oid = b.relation)
       -- One for each kind of statement.
       OR 4 > (SELECT count(*) FROM pg_catalog.pg_trigger t
               WHERE t.tgrelid = b.relation AND t.tgfoid = 'persona._queue_changes()'::regprocedure
                 AND pg_catalog.encode(t.tgargs, 'escape') = m.model_id || '\000'
                 AND t.tgenabled IN ('O', 'A') AND t.tgtype & 1 = 0))
UNION ALL
SELECT 'warning', m.last_name, 'its view is gone', 'The next training that makes a model removes what is left of it.'
FROM persona_internal.model m
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = m.relation::oid)
  AND NOT EXISTS (SELECT FROM left_over o WHERE o.model_id = m.model_id)
  AND pg_catalog.pg_has_role('pg_database_owner', 'USAGE')
UNION ALL
SELECT 'warning', o.last_name, 'its view is gone, its tables are not',
       'DROP TABLE ' || pg_catalog.string_agg(o.oid::regclass::text, ', ' ORDER BY o.word) || ';'
FROM left_over o GROUP BY o.model_id, o.last_name
HAVING pg_catalog.bool_or(pg_catalog.pg_has_role(o.relowner, 'USAGE')) OR pg_catalog.pg_has_role('pg_database_owner', 'USAGE')
UNION ALL
SELECT DISTINCT 'error', c.oid::regclass::text, 'its registry row is not stored here',
       'Call the trainer again under this name: the view and what stands beside it are kept.'
FROM pg_catalog.pg_depend d
JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid
JOIN pg_catalog.pg_class c ON c.oid = r.ev_class
WHERE d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.refclassid = 'pg_catalog.pg_proc'::regclass
  AND d.refobjid = 'persona.model_facts(uuid)'::regprocedure AND c.relnamespace <> 'persona_internal'::regnamespace
  -- A copy of the view of a living model is nobody's concern.
  AND NOT EXISTS (SELECT FROM persona_internal.model m
                  WHERE m.relation::oid = c.oid OR m.model_id = persona_internal.model_of(c.oid))
  AND persona_internal.model_of(c.oid) IS NOT NULL
  AND pg_catalog.has_table_privilege(c.oid, 'SELECT');
COMMENT ON VIEW persona_internal.problems IS 'behind persona.check()';
GRANT SELECT ON persona_internal.problems TO PUBLIC;

CREATE FUNCTION persona."check"() RETURNS SETOF persona.check_result
  LANGUAGE sql STABLE PARALLEL SAFE
  -- Names come out with their schemas.
  SET search_path = pg_catalog, pg_temp
  BEGIN ATOMIC
    SELECT p.level, p.model, p.message, p.hint FROM persona_internal.problems p ORDER BY p.level, p.model, p.message;
  END;
COMMENT ON FUNCTION persona."check"() IS
  'What needs attention: no row = healthy. Level error: the model does not serve; warning: it serves, but something is wrong. For the models that you may use; the owner of the database, and those of the tables, also see what a dropped view left behind.';

-- Whom the schema is granted to may look; each view shows what its reader may see.
GRANT SELECT ON ALL TABLES IN SCHEMA persona TO PUBLIC;
