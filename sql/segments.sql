-- Segments: training, and asking which segment a row belongs to. Members, segments, profile and history are tables
-- beside each model.

CREATE TYPE persona.segment_distance AS (segment_id int, label text, distance float8);
COMMENT ON TYPE persona.segment_distance IS 'a segment and how far a row lies from its centre, in the scaled space of the model';

CREATE FUNCTION persona.train_kmeans(
  model text, relation regclass, id_column name, feature_columns name[] DEFAULT NULL, k int DEFAULT NULL, scaling text DEFAULT 'standard',
  n_init int DEFAULT 10, max_iterations int DEFAULT 300, tolerance float8 DEFAULT 1e-4, holdout text DEFAULT 'none', deploy text DEFAULT 'auto',
  seed bigint DEFAULT 42, features text DEFAULT NULL, options jsonb DEFAULT '{}')
  RETURNS persona.training_result
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'persona_train_kmeans';
COMMENT ON FUNCTION persona.train_kmeans(text, regclass, name, name[], int, text, int, int, float8, text, text, bigint, text, jsonb) IS
$$Parts the rows of a relation into k segments by k-means (Lloyd's iteration from greedy k-means++ starts) and stores them as a new version of the model. Beside the view of the model stand its tables <model>_members, <model>_segments, <model>_profile and <model>_history; a version that goes live changes the rows of these that differ. Write SELECT * FROM persona.train_kmeans(...).
model: name of a new or an existing model, 1 to 40 bytes. relation: one row per id. id_column: unique; smallint, integer, bigint, uuid, text, varchar, char, date, an enum or a domain over these.
feature_columns: what rows are compared by: smallint, integer, bigint, real, double precision, numeric, boolean (0 and 1) or interval (days); NULL = all columns but the id. Rows with a NULL, NaN or infinite feature are not learned from and become members with segment NULL and the reason.
k: 1 to 1000 segments, fewer where fewer rows differ; NULL = the number from 2 to options.k_max with the greatest silhouette. scaling: 'standard' (mean 0, population deviation 1), 'min_max', 'robust' (median 0, distance of the quartiles 1) or 'none'; stored with the model. A column that does not vary counts for nothing.
n_init: 1 to 1000 starts, of which the best counts, 10. max_iterations: 1 to 10000 per start, 300. tolerance: movement of the centres, relative to the mean variance, at which a start ends, 1e-4. holdout: 'none'. deploy: 'auto' (like 'always': segments have no guard), 'always', 'never'. seed: makes the result repeatable, for the same rows in any order. features: not supported yet (0A000).
options: {"k_max": 2 to 1000, 10; "keep_log": 1 to 1000000, 10000; "keep_versions": 1 to 1000, 2; "threads": at most persona.max_threads}.
A segment keeps its id, and the label that label_segment gave it, as long as it is the nearest continuation of itself (minimum-cost matching of the centres).
metric is 'silhouette' of up to 25000 rows, -1 to 1. Errors: 42703, 0A000 columns; 42701 a column that is named twice; 23505 ids that are not unique; 22023 parameters; 02000 nothing to learn from; 53200 memory; 55P03 trained by another session; 42501 not the owner.
Source: Lloyd 1982; Arthur, Vassilvitskii 2007; Rousseeuw 1987; results as those of sklearn.cluster.KMeans.$$;

CREATE FUNCTION persona.train_rfm(
  model text, relation regclass, id_column name, time_column name, amount_column name, order_column name DEFAULT NULL,
  as_of timestamptz DEFAULT NULL, bins int DEFAULT 5, deploy text DEFAULT 'auto', options jsonb DEFAULT '{}')
  RETURNS persona.training_result
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'persona_train_rfm';
COMMENT ON FUNCTION persona.train_rfm(text, regclass, name, name, name, name, timestamptz, int, text, jsonb) IS
$$Scores the customers in a relation of purchases by recency, frequency and monetary value and names the combinations (Champions, At Risk, ...). Tables as those of train_kmeans; members also have recency_days, frequency, monetary, r_score, f_score and m_score. Write SELECT * FROM persona.train_rfm(...).
id_column: the customer, of the types of train_kmeans. time_column: timestamptz, timestamp or date (the latter two in UTC). amount_column: any numeric type. order_column: id of the order where an order has many rows, of any type that can be hashed; frequency then counts distinct orders.
Amounts of at least 0 are purchases; a refund, below 0, lowers monetary and is no purchase. Rows with NULL, with an amount or a time that is not finite, and rows after as_of do not count; a customer without a purchase is a member with segment NULL and the reason.
as_of: the time that recency is counted to, in days; NULL = the newest time in the data, anew with each training.
bins: 2 to 10 scores, 5. A score says between which quantiles (linear interpolation) of all customers a value lies, the highest is the best: most recent, most orders, most money. Equal values share a score; where so many are equal that cut points coincide, scores between them stay empty and a NOTICE says so.
options: {"labels": 5 arrays of 5 names, from those who bought longest ago, each from those who bought least; "keep_log": 1 to 1000000, 10000; "keep_versions": 1 to 1000, 2}. Labels keep their ids over trainings; persona.label_segment renames one.
Errors: as train_kmeans, 22008 as_of that is not finite.$$;

CREATE FUNCTION persona.assign(model text, features float8[]) RETURNS int
  LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_assign';
COMMENT ON FUNCTION persona.assign(text, float8[]) IS
$$The id of the segment that a row belongs to, by the live version of the model. features: in the order of the model's feature_columns, in their units (booleans 0 and 1, intervals in days); for RFM recency_days, frequency, monetary. NULL where a feature is NULL or not finite. Needs SELECT on the model's view.
Errors: 22023 another number of features; 42704 no such model, 55000 not deployed, 42501 no right, 42809 the model has no segments.$$;

CREATE FUNCTION persona.assign_row(model text, record jsonb) RETURNS int
  LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_assign_row';
COMMENT ON FUNCTION persona.assign_row(text, jsonb) IS
$$As assign, with the features by name: assign_row('tiers', to_jsonb(c)) for a row c. Other keys do not matter. Intervals are texts as Postgres writes them.
Errors: as assign; 22023 for a feature that is missing or no number.$$;

CREATE FUNCTION persona.segment_distances(model text, features float8[]) RETURNS SETOF persona.segment_distance ROWS 8
  LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_segment_distances';
COMMENT ON FUNCTION persona.segment_distances(text, float8[]) IS
$$Every segment with the distance of a row from its centre in the scaled space, nearest first; no rows where a feature is NULL or not finite. Arguments and errors as assign; 42809 for RFM, whose segments are combinations of scores.$$;

CREATE FUNCTION persona.label_segment(model text, segment_id int, label text) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'persona_label_segment';
COMMENT ON FUNCTION persona.label_segment(text, int, text) IS
$$Names a segment, in the tables at once and in all later versions for as long as the segment lives; NULL gives the generated label back. label: 1 to 200 characters. For the owner of the model (42501). 42704 no such segment in the live version, 22023 a blank label.$$;

CREATE FUNCTION persona._place(features float8[]) RETURNS float8[]
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'persona_place';
COMMENT ON FUNCTION persona._place(float8[]) IS 'behind the tables of segments: answers only while a version goes live (55000)';
