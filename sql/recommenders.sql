-- Recommenders: training, serving, evaluation. Ids are text here; the functions made beside each model have the
-- types of its columns.

CREATE FUNCTION persona.train_als(
  model text, relation regclass, user_column name, item_column name, value_column name DEFAULT NULL, time_column name DEFAULT NULL,
  feedback text DEFAULT 'implicit', factors int DEFAULT 64, regularization float8 DEFAULT NULL, alpha float8 DEFAULT NULL,
  iterations int DEFAULT 15, holdout text DEFAULT 'auto', deploy text DEFAULT 'auto', seed bigint DEFAULT 42, options jsonb DEFAULT '{}')
  RETURNS persona.training_result
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'persona_train_als';
COMMENT ON FUNCTION persona.train_als(text, regclass, name, name, name, name, text, int, float8, float8, int, text, text, bigint, jsonb) IS
$$Trains a recommender by alternating least squares, on implicit feedback or on ratings, and stores it as a new version of the model. Write SELECT * FROM persona.train_als(...).
model: name of a new or an existing model, with its schema where that is not the first of search_path; 1 to 40 bytes.
relation, user_column, item_column: where the interactions stand; ids are smallint, integer, bigint, uuid, text, varchar, char, date, an enum or a domain over these.
value_column: strength of an interaction, any numeric type, NULL = 1 each; rows of one user and item are summed; values that are not above 0 are skipped and counted. With feedback 'explicit' the ratings, any number; of one user and item the newest counts, without a time column their mean.
time_column: timestamptz, timestamp, date or bigint; the holdout takes the newest rows.
feedback: 'implicit', or 'explicit' for ratings: the mean of all, biases of users and items, and factors of what these leave; items are ranked by the rating that is expected, and persona.score answers it. The figure of such a model is the error 'rmse' on held-out ratings, beside that of each item's mean. factors: 1 to 2048 numbers per user and item (explicit: 2047), 64. regularization: at least 0, NULL = by rule from the data; of ratings per rating of the user or the item, NULL = 0.1. alpha: above 0, confidence is 1 + alpha * value, NULL = 10; not for ratings. iterations: 1 to 10000, 15.
holdout: 'time', 'hash', 'auto' (time where there is a time column) or 'none'. deploy: 'auto' (if not worse), 'always', 'never'. seed: makes the result repeatable.
options: {"solver": 'cg' (a few steps of conjugate gradients, the default) or 'cholesky' (each row exactly, the default of ratings); "cg_steps": 1 to 100, 3; "keep_log": 1 to 1000000, 10000; "keep_versions": 1 to 1000, 2; "threads": at most persona.max_threads; "item_features", "user_features": {"relation": text, "id_column": text, "columns": [text]}, "segments": name of a model of segments or {"relation": text, "id_column": text, "segment_column": text}, "segment_models": 'auto' (where they rank held-out rows better), 'always' or 'never'; the last four for implicit feedback}. With segments a model of each is trained beside that of all and serves its users, and who has a segment and no interactions gets what is popular there (source 'segment'); one row a user (21000), at most 1000 segments (54000). Rows of a relation of features without interactions get factors mapped from their columns (numbers, boolean, interval, text, enums, text[]) and are served with source 'content'; the ids of the relation are unique (23505) and fit those of the interactions (42804); its name is looked up along search_path now and kept with its schema (42P01).
Errors: 42703, 0A000 columns; 22023 parameters; 02000 nothing to learn from; 53200 memory; 55P03 trained by another session; 42501 not the owner.
Source: Hu, Koren, Volinsky 2008; Takacs, Pilaszy, Tikk 2011; ratings: Zhou, Wilkinson, Schreiber, Pan 2008 with the biases of Koren 2010.$$;

CREATE FUNCTION persona.train_ease(
  model text, relation regclass, user_column name, item_column name, value_column name DEFAULT NULL, time_column name DEFAULT NULL,
  regularization float8 DEFAULT NULL, holdout text DEFAULT 'auto', deploy text DEFAULT 'auto', seed bigint DEFAULT 42, options jsonb DEFAULT '{}')
  RETURNS persona.training_result
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'persona_train_ease';
COMMENT ON FUNCTION persona.train_ease(text, regclass, name, name, name, name, float8, text, text, bigint, jsonb) IS
$$Trains a recommender by EASE: one weight for each pair of items, from the inverse of the matrix of items that users share. Often the best for up to some ten thousand items; time grows with the cube and memory with the square of their number (20,000 items: 1.7 GB). Where persona.max_memory does not allow that, it learns the weights as products of factors instead (ELSA; memory grows with the items alone), with a NOTICE; algorithm is then elsa. An item counts as had or not: values only say which rows are skipped. Rows, holdout, deploy, seed and errors as train_als; 53200 tells the memory that so many items need.
regularization: of the full form, above 0, NULL = by rule from the data (10 times the fourth root of the mean items of a user times the mean users of an item). options: {"segments" and "segment_models" as train_als; "form": "full", "low_rank" or "auto" (low_rank exactly where full does not fit), auto; of the full form "neighbours": items that an item keeps on average, 1 to 10000, 100; of the low-rank form "factors": 1 to 2048, 256, "iterations": passes over the users, 1 to 10000, 12, "batch_size": users of a step, 1 to 8192, by default a 64th of all but at least 64 and at most 4096, "learning_rate": above 0, 0.03; "keep_log": 1 to 1000000, 10000; "keep_versions": 1 to 1000, 2; "threads": at most persona.max_threads}.
hyperparameters of the version: form and, where the memory chose it, form_reason. 22023 for a regularization with form low_rank. Source: Steck 2019; Vančura, Alves, Kasalický and Kordík 2022.$$;

CREATE FUNCTION persona.train_item_knn(
  model text, relation regclass, user_column name, item_column name, value_column name DEFAULT NULL, time_column name DEFAULT NULL,
  similarity text DEFAULT 'cosine', neighbours int DEFAULT 20, holdout text DEFAULT 'auto', deploy text DEFAULT 'auto',
  seed bigint DEFAULT 42, options jsonb DEFAULT '{}')
  RETURNS persona.training_result
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'persona_train_item_knn';
COMMENT ON FUNCTION persona.train_item_knn(text, regclass, name, name, name, name, text, int, text, text, bigint, jsonb) IS
$$Trains a recommender of similar items: each item keeps its nearest others, and what a user is recommended is what is near to the user's items. Rows, holdout, deploy, seed and errors as train_als.
similarity: 'cosine', 'jaccard', 'tf_idf' or 'bm25'. neighbours: 1 to 10000 items, 20. options: {"segments" and "segment_models" as train_als; "shrinkage": common users by which a similarity is halved, at least 0, 0; "k1": of bm25, 1.2; "b": of bm25, 0 to 1, 0.75; "keep_log": 1 to 1000000, 10000; "keep_versions": 1 to 1000, 2; "threads": at most persona.max_threads}.
Source: Sarwar, Karypis, Konstan, Riedl 2001; similarities as in implicit 0.7.$$;

CREATE FUNCTION persona.train_bpr(
  model text, relation regclass, user_column name, item_column name, value_column name DEFAULT NULL, time_column name DEFAULT NULL,
  factors int DEFAULT 32, learning_rate float8 DEFAULT NULL, regularization float8 DEFAULT NULL, iterations int DEFAULT NULL,
  holdout text DEFAULT 'auto', deploy text DEFAULT 'auto', seed bigint DEFAULT 42, options jsonb DEFAULT '{}')
  RETURNS persona.training_result
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'persona_train_bpr';
COMMENT ON FUNCTION persona.train_bpr(text, regclass, name, name, name, name, int, float8, float8, int, text, text, bigint, jsonb) IS
$$Trains a recommender by Bayesian personalized ranking: factors for which the items of a user score above items that the user does not have. As train_sgd with loss 'bpr', whose comment tells the arguments; rows, holdout, deploy and errors as train_als.
Source: Rendle, Freudenthaler, Gantner, Schmidt-Thieme 2009.$$;

CREATE FUNCTION persona.train_sgd(
  model text, relation regclass, user_column name, item_column name, value_column name DEFAULT NULL, time_column name DEFAULT NULL,
  loss text DEFAULT 'warp', optimizer text DEFAULT NULL, factors int DEFAULT 32, learning_rate float8 DEFAULT NULL,
  regularization float8 DEFAULT NULL, iterations int DEFAULT NULL, holdout text DEFAULT 'auto', deploy text DEFAULT 'auto',
  seed bigint DEFAULT 42, options jsonb DEFAULT '{}')
  RETURNS persona.training_result
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'persona_train_sgd';
COMMENT ON FUNCTION persona.train_sgd(text, regclass, name, name, name, name, text, text, int, float8, float8, int, text, text, bigint, jsonb) IS
$$Trains a recommender by stochastic gradients. Rows, holdout, deploy, seed and errors as train_als; the result is the same for every number of threads.
loss: 'warp' (draws items until one scores too high; the fewer draws, the more it counts), 'bpr' (an item of the user against one that is not), 'logistic' (binary cross-entropy with sampled negatives, an entry counts by its value), 'squared' (of the values; negatives only where options.negatives says so).
optimizer: 'sgd', 'adagrad' or 'adam'; NULL = 'adagrad', for 'squared' 'sgd'. factors: 1 to 2046 numbers per user and item, 32; with biases each item has one more. learning_rate: above 0, at most 100, NULL = 0.05, for 'squared' 0.005. regularization: at least 0, NULL = 0.01, for 'squared' 0.1. iterations: 1 to 10000 passes over the rows, NULL = by the loss.
options: "item_features", "user_features", "segments" and "segment_models" as train_als; {"batch_size": 1 to 4096, 1; "biases": true; "dropout": part of the factors that an update leaves out, 0 to below 1, 0; "patience": passes without a better score, 1 to 10000, after which training ends with the best: the score is nDCG@10, of 'squared' the error, of a tenth of the rows of at most 1000 users, which are not trained on; "decay": with patience, what the learning rate is multiplied with after each pass without a better score, above 0, at most 1, 1; "negatives": 0 to 1000 an entry, for 'warp' the most draws; "sampling": 'uniform' or 'popularity'; "keep_log": 1 to 1000000, 10000; "keep_versions": 1 to 1000, 2; "threads": at most persona.max_threads}.
Source: Weston, Bengio, Usunier 2011; Duchi, Hazan, Singer 2011; Kingma, Ba 2015; Koren, Bell, Volinsky 2009.$$;

CREATE FUNCTION persona.train_popularity(
  model text, relation regclass, user_column name, item_column name, value_column name DEFAULT NULL, time_column name DEFAULT NULL,
  half_life float8 DEFAULT NULL, holdout text DEFAULT 'auto', deploy text DEFAULT 'auto', seed bigint DEFAULT 42, options jsonb DEFAULT '{}')
  RETURNS persona.training_result
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'persona_train_popularity';
COMMENT ON FUNCTION persona.train_popularity(text, regclass, name, name, name, name, float8, text, text, bigint, jsonb) IS
$$Trains a recommender of what most users have: everybody gets the same items, without those already had. What to compare others with, and what to show where nothing is known. Rows, holdout, deploy, seed and errors as train_als; each pair of a user and an item counts once, by its newest time.
half_life: days after which an interaction counts half, above 0; of a time column of whole numbers in its own unit; NULL = all count alike. options: {"segments" as train_als: each segment has its own popularity; "keep_log": 1 to 1000000, 10000; "keep_versions": 1 to 1000, 2}.
score: the item's share of all interactions so weighted, 0 to 1.$$;

CREATE FUNCTION persona.train_recommender(
  model text, relation regclass, user_column name, item_column name, value_column name DEFAULT NULL, time_column name DEFAULT NULL,
  budget interval DEFAULT '10 minutes', deploy text DEFAULT 'auto', seed bigint DEFAULT 42, options jsonb DEFAULT '{}')
  RETURNS persona.training_result
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'persona_train_recommender';
COMMENT ON FUNCTION persona.train_recommender(text, regclass, name, name, name, name, interval, text, bigint, jsonb) IS
$$Trains the best recommender for these rows: tries popularity, item-kNN, EASE, WARP and ALS on held-out rows, then settings near those of the best, and trains the winner by nDCG@10 on all rows. The call to begin with. Rows, deploy, seed and errors as train_als; the holdout is 'auto'.
budget: the time that it may take in all, above 0; what would not fit in it or in persona.max_memory is passed over, popularity never. The choice depends on the budget only where it is too short; deploy_reason says what was tried, and persona.training_log has a line for each try with its nDCG@10 in validation.
retrain tries again and may change "budget", "deploy", "seed". options: {"algorithms": the ones that may be tried, of "popularity", "item_knn", "ease", "elsa" (where nothing is said, only where ease does not fit the memory), "warp", "als"; "item_features" and "user_features" as train_als: then only "warp" and "als" are tried, which learn from features, and deploy_reason says so; "segments" and "segment_models" as train_als, for the winner; "keep_log": 1 to 1000000, 10000; "keep_versions": 1 to 1000, 2; "threads": at most persona.max_threads}.$$;

-- What may read a relation, for options or fresh, stays out of parallel workers, which can read no temporary table.
-- The functions without such arguments are for these.
CREATE FUNCTION persona.recommend(
  model text, user_id anycompatible, k int DEFAULT 10, exclude text[] DEFAULT NULL, candidates text[] DEFAULT NULL,
  remove_seen bool DEFAULT true, fresh bool DEFAULT false, options jsonb DEFAULT '{}')
  RETURNS SETOF persona.recommendation ROWS 10
  LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'persona_recommend';
COMMENT ON FUNCTION persona.recommend(text, anycompatible, int, text[], text[], bool, bool, jsonb) IS
$$The best k items for a user, best first, equal scores by id: all k whenever k items are eligible.
user_id: text or any type that fits the ids; NULL and unknown users get the most popular items (source 'popular', of their segment 'segment'); source 'content' marks items and users whose factors follow from their features alone. exclude: items that must not come. candidates: the only items that may come. remove_seen: false lets the user's own items come. fresh: true reads the user's rows in the model's source now, with the rights of the caller, and answers from these (source 'fresh') instead of those of the training; without rows of known items as false. It needs SELECT on the source (42501) and, to be quick, an index on its user column.
options: {"offset": rows passed over, 0; "diversity": 0 to 1, 0; "max_per_category": at least 1, with "categories": {"relation", "item_column": that of the model, "category_column"}; "eligible": a relation that shows the items that may come, "eligible_column": that of the model; "segment": name of the segment whose model answers, that of the training; a name that the model does not know is passed over}. Relations are read with the caller's rights, under the statement's snapshot, at the rows of the items in question.
score: product of the factors, of ratings the rating that is expected, or the item's share of all interactions. Needs SELECT on the model's view.
Errors: 42704 no such model, 55000 not deployed, 42501 no right, 22P02 a text that cannot be an id, 42804 an id or a column of another type, 22023 k below 0 or an option; 42P01, 42703 and 42501 of a relation in options; with fresh, 42P01, 42703, 42804 where the source has changed.$$;

CREATE FUNCTION persona.recommend_as(
  model text, user_id anycompatible, item_type anyelement, k int DEFAULT 10, exclude text[] DEFAULT NULL, candidates text[] DEFAULT NULL,
  remove_seen bool DEFAULT true, fresh bool DEFAULT false, options jsonb DEFAULT '{}')
  RETURNS TABLE(item_id anyelement, score real, rank int, source text) ROWS 10
  LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'persona_recommend_as';
COMMENT ON FUNCTION persona.recommend_as(text, anycompatible, anyelement, int, text[], text[], bool, bool, jsonb) IS
  'As recommend, with item ids of the type of item_type: recommend_as(''for_you'', 42, NULL::bigint). 42804 where the items have another type.';

CREATE FUNCTION persona._recommend(model regclass, user_id anycompatible, k int, exclude anyarray, candidates anyarray)
  RETURNS TABLE(item_id anyelement, score real, rank int, source text) ROWS 10
  LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_typed_recommend';
COMMENT ON FUNCTION persona._recommend(regclass, anycompatible, int, anyarray, anyarray) IS 'behind <model>_recommend';

CREATE FUNCTION persona.recommend_all(model text, k int DEFAULT 10) RETURNS bigint
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'persona_recommend_all';
COMMENT ON FUNCTION persona.recommend_all(text, int) IS
$$Brings the table <model>_recs in line with the live version: the best k items (1 to 10000, 10) of every user it knows, as recommend answers them, with the ids in the types and names of their columns. Only rows that differ are written. Answers how many rows the table has. The first call makes the table, owned by the owner of the model, readable for those who may read its view; later versions change it when it is called again.
For the owner of the model (42501). 42701 an id column that is named like a column of the table, 55000 not deployed, 22023 k.$$;

CREATE FUNCTION persona._recommend_all(model regclass, k int, users anyarray, items anycompatiblearray)
  RETURNS TABLE(user_id anyelement, rank int, item_id anycompatible, score real, source text) ROWS 100000
  LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'persona_recommend_all_rows';
COMMENT ON FUNCTION persona._recommend_all(regclass, int, anyarray, anycompatiblearray) IS 'behind persona.recommend_all';

CREATE FUNCTION persona.recommend_for_items(model text, items text[], k int DEFAULT 10, options jsonb DEFAULT '{}')
  RETURNS SETOF persona.recommendation ROWS 10
  LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'persona_recommend_for_items';
COMMENT ON FUNCTION persona.recommend_for_items(text, text[], int, jsonb) IS
  'The best k items for somebody who has exactly these items, without them: a basket, a new user. Their factors are folded in. Unknown items are passed over; without a known one the most popular items come. options as in recommend.';

CREATE FUNCTION persona._recommend_for_items(model regclass, items anyarray, k int)
  RETURNS TABLE(item_id anyelement, score real, rank int, source text) ROWS 10
  LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_typed_recommend_for_items';
COMMENT ON FUNCTION persona._recommend_for_items(regclass, anyarray, int) IS 'behind <model>_recommend_for_items';

CREATE FUNCTION persona.recommend_for_users(model text, user_ids text[], k int DEFAULT 10, options jsonb DEFAULT '{}')
  RETURNS SETOF persona.user_recommendation ROWS 1000
  LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'persona_recommend_for_users';
COMMENT ON FUNCTION persona.recommend_for_users(text, text[], int, jsonb) IS
  'recommend for many users in one call, in the given order; repeated ids are answered once, NULLs are skipped. options as in recommend.';

CREATE FUNCTION persona.similar_items(model text, item_id anycompatible, k int DEFAULT 10, options jsonb DEFAULT '{}')
  RETURNS SETOF persona.recommendation ROWS 10
  LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'persona_similar_items';
COMMENT ON FUNCTION persona.similar_items(text, anycompatible, int, jsonb) IS
  'The k items nearest to an item by cosine of their factors, without itself; no rows for an unknown item. options as in recommend, but for segment.';

CREATE FUNCTION persona._similar_items(model regclass, item_id anyelement, k int)
  RETURNS TABLE(item_id anyelement, score real, rank int, source text) ROWS 10
  LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_typed_similar_items';
COMMENT ON FUNCTION persona._similar_items(regclass, anyelement, int) IS 'behind <model>_similar_items';

CREATE FUNCTION persona.similar_users(model text, user_id anycompatible, k int DEFAULT 10, options jsonb DEFAULT '{}')
  RETURNS SETOF persona.similar_user ROWS 10
  LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_similar_users';
COMMENT ON FUNCTION persona.similar_users(text, anycompatible, int, jsonb) IS
  'The k users nearest to a user by cosine of their factors, without the user; no rows for an unknown user.';

CREATE FUNCTION persona.popular_items(model text, k int DEFAULT 10, options jsonb DEFAULT '{}')
  RETURNS SETOF persona.recommendation ROWS 10
  LANGUAGE c STABLE PARALLEL RESTRICTED AS 'MODULE_PATHNAME', 'persona_popular_items';
COMMENT ON FUNCTION persona.popular_items(text, int, jsonb) IS
  'The k items with the most users; score is the share of all interactions, each pair of a user and an item counted once. options as in recommend; "segment": name of the segment whose interactions count; a name that the model does not know is passed over.';

CREATE FUNCTION persona.score(model text, user_id anycompatible, item_id text) RETURNS real
  LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_score';
COMMENT ON FUNCTION persona.score(text, anycompatible, text) IS
  'The score of an item for a user, as in recommend: about 1 for what the user would take, about 0 otherwise. NULL where either is unknown.';
CREATE FUNCTION persona.score(model text, user_id anycompatible, item_id anyelement) RETURNS real
  LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_score_typed';
COMMENT ON FUNCTION persona.score(text, anycompatible, anyelement) IS 'The same with an item id of its own type.';

CREATE FUNCTION persona.item_factors(model text) RETURNS SETOF persona.factor
  LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_item_factors';
COMMENT ON FUNCTION persona.item_factors(text) IS 'The factors of all items of the live version, in the order of their ids.';
CREATE FUNCTION persona.user_factors(model text) RETURNS SETOF persona.factor
  LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_user_factors';
COMMENT ON FUNCTION persona.user_factors(text) IS 'The factors of all users of the live version, in the order of their ids.';

CREATE FUNCTION persona.evaluate(model text, version int DEFAULT NULL, k int DEFAULT 10, options jsonb DEFAULT '{}')
  RETURNS SETOF persona.evaluation
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'persona_evaluate';
COMMENT ON FUNCTION persona.evaluate(text, int, int, jsonb) IS
$$How well a version (NULL = the live one) ranks rows that its first fit did not see, beside the most popular items: precision, recall, nDCG, MAP, hit rate, MRR, novelty, coverage and Gini at k; of ratings RMSE and MAE, with k = 0.
Stored with the version for k = 1, 5, 10, 20, 50. For any other k, after holdout 'none', and with any option, the owner of the model gets the figures of a new fit on a split of the rows of now, with the AUC (k = 0).
options: split 'time', 'hash' or 'user' (a tenth of the users is unknown to the fit); slices ["activity", "popularity"]; group_relation, group_id and group_column (a slice for each value of that column, 1000 at most, read as the model's owner); bootstrap 100..10000 resamples for the intervals.
value, baseline, ci_low and ci_high are 0..1, of novelty bits. 22023 for a bad option, 42501 for others than the owner, 0A000 for slices of ratings and segments, 54000 beyond 1000 groups, 21000 for a user with two groups.
Järvelin and Kekäläinen 2002 (nDCG), Voorhees 1999 (MRR), Vargas and Castells 2011 (novelty), Efron and Tibshirani 1993 (bootstrap).$$;
