-- Versions that follow the rows that changed.

CREATE FUNCTION persona.update_model(model text, options jsonb DEFAULT '{}') RETURNS persona.training_result
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'persona_update_model';
COMMENT ON FUNCTION persona.update_model(text, jsonb) IS
$$Makes a new version of a recommender from its live one and the rows that changed since, in seconds: finds the users of rows whose time is at or after the newest that the live version saw, reads all rows of these users again, and learns what they touch. Rows that were deleted, or changed without a newer time, are found of these users alone; persona.retrain() finds all. Where the source is attached, the queue tells instead, and finds deletes too. Without a change it answers the live version and writes nothing.
options: {"late": how long before the newest time rows may have been written that the version did not see: an interval, '1 hour'; for a time column of whole numbers a whole number in its unit, 0}.
Implicit ALS starts from the factors of before: the users that changed, the items that they have or had, the users again. EASE, item-kNN and popularity are fitted on all entries. Nothing is held out, so the version has no metric and goes live unless the trainer was told deploy => 'never'; rows_used counts pairs of a user and an item. Runs as the owner of the model, whoever starts it. Write SELECT * FROM persona.update_model(...).
Errors: 42704 no such model, 42501 not its owner, 42809 a model that forms segments, 55P03 it is being trained, 0A000 ratings, SGD, BPR, WARP, popularity with a half_life and ALS with features, 55000 no time column, a queue that does not know everything, or a version of an earlier pg_persona, 42P01 or 42703 where the source changed, 22023 or 22007 another "late".
Source: Hu, Koren and Volinsky, Collaborative Filtering for Implicit Feedback Datasets, ICDM 2008.$$;
