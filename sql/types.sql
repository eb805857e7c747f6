-- What functions answer. New columns are only ever added at the end.

CREATE TYPE persona.training_result AS (
  model text, version int, algorithm text, rows_used bigint, rows_skipped bigint, iterations int, converged bool,
  metric text, value float8, baseline float8, live_value float8, seconds float8, deployed bool, deploy_reason text);
COMMENT ON TYPE persona.training_result IS 'what a training answers: the new version, its holdout metric beside popularity, and whether it went live';
COMMENT ON COLUMN persona.training_result.model IS 'name of the model as it was given';
COMMENT ON COLUMN persona.training_result.version IS 'number of the new version, from 1';
COMMENT ON COLUMN persona.training_result.algorithm IS 'what was trained: als';
COMMENT ON COLUMN persona.training_result.rows_used IS 'rows that were learned from';
COMMENT ON COLUMN persona.training_result.rows_skipped IS 'rows left out: NULL in a column, a value that is not finite or not above 0';
COMMENT ON COLUMN persona.training_result.iterations IS 'iterations of the published fit';
COMMENT ON COLUMN persona.training_result.converged IS 'whether the last iteration changed the loss by less than a thousandth';
COMMENT ON COLUMN persona.training_result.metric IS 'what value and baseline are: ndcg@10; NULL without a holdout';
COMMENT ON COLUMN persona.training_result.value IS 'the metric of a first fit on held-out rows, 0 to 1';
COMMENT ON COLUMN persona.training_result.baseline IS 'the same metric of the most popular items';
COMMENT ON COLUMN persona.training_result.live_value IS 'the stored value of the version that was live before';
COMMENT ON COLUMN persona.training_result.seconds IS 'seconds from the call to the stored version';
COMMENT ON COLUMN persona.training_result.deployed IS 'whether the new version went live';
COMMENT ON COLUMN persona.training_result.deploy_reason IS 'why, or why not';

CREATE TYPE persona.recommendation AS (item_id text, score real, rank int, source text);
COMMENT ON TYPE persona.recommendation IS 'an item and why it comes; source: model or popular';
CREATE TYPE persona.user_recommendation AS (user_id text, item_id text, score real, rank int, source text);
COMMENT ON TYPE persona.user_recommendation IS 'a recommendation and the user it is for';
CREATE TYPE persona.similar_user AS (user_id text, score real, rank int);
COMMENT ON TYPE persona.similar_user IS 'a user near another one by cosine of their factors';
CREATE TYPE persona.explanation AS (evidence_item_id text, contribution real, rank int);
COMMENT ON TYPE persona.explanation IS 'an item of a user and what it adds to the score of another one';
CREATE TYPE persona.factor AS (id text, factors real[], bias real);
COMMENT ON TYPE persona.factor IS 'the factors of a user or an item; bias is NULL for implicit models';
CREATE TYPE persona.check_result AS (level text, model text, message text, hint text);
COMMENT ON TYPE persona.check_result IS 'something that needs attention; level: error or warning';
CREATE TYPE persona.prune_result AS (model text, versions_removed bigint, images_removed bigint);
COMMENT ON TYPE persona.prune_result IS 'what was removed of the history of a model: facts of versions, and data of versions';
CREATE TYPE persona.evaluation AS (
  model text, version int, slice text, metric text, k int, value float8, baseline float8, ci_low float8, ci_high float8, users bigint);
COMMENT ON TYPE persona.evaluation IS 'a metric of a version on held-out rows, beside that of the most popular items, with a 95 % interval over users';
