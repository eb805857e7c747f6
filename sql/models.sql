-- The life cycle of models.

CREATE FUNCTION persona_internal.library_functions(OUT symbol text, OUT arguments text, OUT result text) RETURNS SETOF record
  LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_library_functions';
COMMENT ON FUNCTION persona_internal.library_functions() IS 'the functions that the library exports, with the types that it expects of their SQL declarations';

CREATE FUNCTION persona_internal.model_of(relation oid) RETURNS uuid
  LANGUAGE c STABLE STRICT PARALLEL SAFE COST 10 AS 'MODULE_PATHNAME', 'persona_model_of';
COMMENT ON FUNCTION persona_internal.model_of(oid) IS
  'the id that the body of a view carries; unlike pg_get_viewdef, which runs a query along the search path of the caller, it runs none, and it waits for no lock';

CREATE PROCEDURE persona._outside_block(procedure text)
  LANGUAGE c AS 'MODULE_PATHNAME', 'persona_outside_block';
COMMENT ON PROCEDURE persona._outside_block(text) IS
  'The first step of a procedure that commits: 25001 where the transaction cannot end within the call.';

CREATE FUNCTION persona.model_facts(model_id uuid,
  OUT algorithm text, OUT version int, OUT trained_at timestamptz, OUT rows_used bigint, OUT metric text,
  OUT value float8, OUT baseline float8, OUT bytes bigint) RETURNS SETOF record
  LANGUAGE c STABLE PARALLEL SAFE ROWS 1 AS 'MODULE_PATHNAME', 'persona_model_facts';
COMMENT ON FUNCTION persona.model_facts(uuid) IS
  'The live version of a model: what the view of the model shows. Needs SELECT on that view (42501); 55000 where no version is deployed.';

CREATE FUNCTION persona.deploy(model text, version int) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'persona_deploy';
COMMENT ON FUNCTION persona.deploy(text, int) IS
  'Makes a stored version of a model live, from the commit of this transaction on. Tables of segments follow: their members are read from the source as it is now. For the owner of the model (42501). 42704 no such model or version, 55000 the version is no longer stored.';

CREATE FUNCTION persona.rollback(model text) RETURNS int
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'persona_rollback';
COMMENT ON FUNCTION persona.rollback(text) IS
  'Returns a model to the version that was live before; called again, further back. Answers the version that is live now. For the owner of the model (42501). 55000 when there is nothing older.';

CREATE FUNCTION persona.prewarm(model text) RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'persona_prewarm';
COMMENT ON FUNCTION persona.prewarm(text) IS
$$Loads the live version of a model and checks every byte of it; answers its size in bytes. From 8 MB on that is the file that all connections of the server share: written if it is missing, replaced if it is damaged, so that no request waits for it. Below, only this connection profits.
Run it on each standby after a deployment; training, deploy and rollback do it on the primary. For whoever may be served by the model (42501). 53100 no space and no private memory either, 55000 not deployed or not stored.$$;

CREATE FUNCTION persona.prune(model text DEFAULT NULL, keep_log int DEFAULT NULL) RETURNS SETOF persona.prune_result
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'persona_prune';
COMMENT ON FUNCTION persona.prune(text, int) IS
$$Removes at once what trainings remove bit by bit: the facts of the versions of a model before the newest keep_log, with their figures, logs and deployments, and the data of versions that are not among its "keep_versions". Kept in any case are the live version, those that rollback may return to, the newest one, and the versions whose figures the guard compares with. Without a model, of all models of the caller; then those that somebody deploys or drops right now are passed over, and what is left of models whose view is gone is removed, too.
keep_log: 1 to 1000000; NULL = the option of that name of the model's trainer, 10000.
Answers a row a model: versions whose facts, and whose data were removed. Changes no later training: give its trainer the option for that. For the owner of the model.
Errors: 42704 no such model, 42501 not its owner, 22023 another keep_log.$$;

CREATE FUNCTION persona.retrain(model text, options jsonb DEFAULT '{}') RETURNS persona.training_result
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'persona_retrain';
COMMENT ON FUNCTION persona.retrain(text, jsonb) IS
  'Trains a new version of a model from its relation and columns with the settings of its last train_ call; options may change, for this version only, the options of the trainer and: of train_als factors, regularization, alpha, iterations, holdout, deploy, seed; of train_kmeans k, scaling, n_init, max_iterations, tolerance, holdout, deploy, seed; of train_rfm as_of, bins, deploy. Runs as the owner of the model, whoever starts it. Write SELECT * FROM persona.retrain(...): (persona.retrain(...)).* would train once a column. 42P01 or 42703 where the source changed: see alter_model.';

CREATE FUNCTION persona.alter_model(model text, relation regclass DEFAULT NULL, column_map jsonb DEFAULT NULL) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'persona_alter_model';
COMMENT ON FUNCTION persona.alter_model(text, regclass, jsonb) IS
  'Changes where the next training of a model reads from: another relation, or other columns by role: {"user_column": "buyer_id"}. Roles are user_column, item_column, value_column, time_column, and where the trainer has these options item_features, user_features and segments, as there, or null for none; of train_kmeans id_column, feature_columns (an array, or null); of train_rfm id_column, time_column, amount_column, order_column. Serving is not touched. For the owner of the model (42501).';

CREATE FUNCTION persona.drop_model(model text) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'persona_drop_model';
COMMENT ON FUNCTION persona.drop_model(text) IS
  'Drops a model: its view, the functions and tables beside it and all its versions. For the owner of the model (42501); 2BP01 where other objects depend on these.';

CREATE FUNCTION persona.grant_model(model text, role name) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'persona_grant_model';
COMMENT ON FUNCTION persona.grant_model(text, name) IS
  'Lets a role (or "public") be served: GRANT SELECT on the view of the model and the tables beside it. The role also needs USAGE on the schema of the model, and on schema persona for the generic functions.';

CREATE FUNCTION persona.revoke_model(model text, role name) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'persona_revoke_model';
COMMENT ON FUNCTION persona.revoke_model(text, name) IS 'Takes back what grant_model gave.';
