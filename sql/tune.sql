-- The search for settings: a procedure that commits between trials, and its steps.

CREATE FUNCTION persona._tune_begin(
  model text, trials int, method text, space jsonb, folds int, deploy text, seed bigint, options jsonb) RETURNS regclass
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'persona_tune_begin';
COMMENT ON FUNCTION persona._tune_begin(text, int, text, jsonb, int, text, bigint, jsonb) IS
  'The first step of persona.tune(): checks its arguments, and makes the table of the trials or sees that it goes on with them; the view of the model.';

CREATE FUNCTION persona._tune_next(model regclass, trials int, error text) RETURNS int
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'persona_tune_next';
COMMENT ON FUNCTION persona._tune_next(regclass, int, text) IS
  'A step of persona.tune(): ends a trial that still runs with this error (NULL: interrupted), and begins the next one; its number, or NULL where there are so many trials or all that there can be.';

CREATE FUNCTION persona._tune_measure(model regclass, trial int) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'persona_tune_measure';
COMMENT ON FUNCTION persona._tune_measure(regclass, int) IS
  'A step of persona.tune(): measures a running trial and writes what came of it. 55P03 where it does not run, because another session goes on with the search.';

CREATE FUNCTION persona._tune_finish(model regclass, deploy text) RETURNS persona.training_result
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'persona_tune_finish';
COMMENT ON FUNCTION persona._tune_finish(regclass, text) IS
  'The last step of persona.tune(): trains with the settings of the best trial, which the model keeps unless deploy is ''auto'' and the version does not go live. 55000 where no trial came to an end.';

CREATE PROCEDURE persona.tune(
  model text, trials int DEFAULT 20, method text DEFAULT 'tpe', space jsonb DEFAULT NULL, budget interval DEFAULT NULL,
  folds int DEFAULT 1, deploy text DEFAULT 'auto', seed bigint DEFAULT 42, options jsonb DEFAULT '{}')
LANGUAGE plpgsql AS $$
DECLARE
  started CONSTANT pg_catalog.timestamptz := pg_catalog.clock_timestamp();
  allowed pg_catalog.int4 := tune.trials;
  view pg_catalog.regclass;
  trial pg_catalog.int4;
  problem pg_catalog.text;
BEGIN
  CALL persona._outside_block('persona.tune()');
  IF tune.budget OPERATOR(pg_catalog.<=) '0'::pg_catalog.interval THEN
    RAISE EXCEPTION '"budget" must be an interval above 0, got %', tune.budget USING ERRCODE = 'invalid_parameter_value';
  END IF;
  -- By name only once: between the steps it may come to mean another model.
  view := persona._tune_begin(
    tune.model, tune.trials, tune.method, tune.space, tune.folds, tune.deploy, tune.seed, tune.options);
  COMMIT;
  LOOP
    IF pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) started OPERATOR(pg_catalog.>=) tune.budget THEN
      allowed := 0;
    END IF;
    trial := persona._tune_next(view, allowed, problem);
    -- From here on everybody sees that it runs, and after a crash that it did.
    COMMIT;
    EXIT WHEN trial IS NULL;
    problem := NULL;
    BEGIN
      PERFORM persona._tune_measure(view, trial);
    EXCEPTION
      WHEN lock_not_available THEN RAISE;  -- somebody else tunes the model
      WHEN OTHERS THEN problem := pg_catalog.concat(SQLSTATE, ': ', SQLERRM);
    END; COMMIT;
  END LOOP;
  PERFORM persona._tune_finish(view, tune.deploy);
END $$;
COMMENT ON PROCEDURE persona.tune(text, int, text, jsonb, interval, int, text, bigint, jsonb) IS
$$Searches for better settings of a recommender: each trial fits it with others on all but held-out rows, measures nDCG@10 on these (of ratings the RMSE, lower is better), and is committed as a row of the table <model>_trials beside the model. At the end a version is trained with the settings of the best trial, which later retrainings keep, unless deploy is 'auto' and the version does not go live; a model of train_recommender becomes one of the trainer that was chosen.
trials: 1 to 1000 in all. method: 'tpe' (drawn where good trials lie, after 10 at random), 'random', 'grid' (every combination); the first trial of the former two has the settings of the version that is live, also where they lie outside of the space, and is marked in the column live. space: settings of the trainer, each an array of values or {"min", "max", "scale": 'linear' or 'log'}; the others stay as they are; NULL = by the trainer. budget: no trial begins later than this, above 0; NULL = no limit. folds: 1 to 20 holdouts by hash, of which the mean counts; a trial below the median of the others so far is abandoned; 1 where the newest rows are held out. deploy as retrain. seed: of the search and of the holdouts.
options: {"levels": values of each range in a grid, 1 to 100, 3; "restart": true forgets the trials}.
A search that was cancelled or crashed goes on from its table when it is called again; what ran then counts as failed. What a trial fails with is in its row, and the search goes on. CALL it outside of a transaction block (25001).
For the owner of the model (42501). 22023 for arguments; 42809 for a model that is no recommender; 55000 for a table of another search, and where every trial failed; 55P03 while another session tunes the model, and at the end while it is trained.
Source: Bergstra, Bardenet, Bengio, Kegl 2011; Golovin et al. 2017.$$;
