-- The low-rank form of EASE: chosen where the full one has no room, or asked for; served as sums of the rows of items.
CREATE SCHEMA low_rank;
SET search_path = low_rank;
SET persona.max_threads = 2;
\set VERBOSITY terse

-- 2,000 items in 20 groups: the full form takes more than 20 MB. Everybody has 15 items of a group and two others.
CREATE TABLE likes AS
SELECT DISTINCT u, i FROM (
  SELECT u, (u % 20) * 100 + (u * 7 + n * (u / 20 % 9 + 1)) % 100 AS i FROM generate_series(1, 600) AS u, generate_series(1, 15) AS n
  UNION ALL SELECT u, (u * 37 + n * 411) % 2000 FROM generate_series(1, 600) AS u, generate_series(1, 2) AS n
  UNION ALL SELECT 1000 + i / 100, i FROM generate_series(0, 1999) AS i) AS rows;
SELECT count(DISTINCT i) FROM likes;

-- By itself: the full form where it fits, and the other, with the reason, where it does not.
SELECT algorithm, iterations FROM persona.train_ease('m', 'likes', 'u', 'i', holdout => 'none');
SELECT hyperparameters ->> 'form' AS form, hyperparameters ? 'form_reason' AS reason FROM persona.versions WHERE model = 'm';
SET persona.max_memory = '20MB';
SELECT algorithm, iterations, deployed FROM persona.retrain('m', '{"factors": 32, "deploy": "always"}');
SELECT hyperparameters ->> 'form' AS form, regexp_replace(hyperparameters ->> 'form_reason', '\d+', 'N', 'g') AS reason,
       hyperparameters - '{form,form_reason,rows_not_finite,rows_not_positive,rows_with_null}'::text[] AS others
FROM persona.versions WHERE model = 'm' AND version = 2;
-- A regularization is for the full form: it is not used, and a NOTICE says so.
\set VERBOSITY default
\set SHOW_CONTEXT never
DO $$ BEGIN PERFORM persona.train_ease('given', 'likes', 'u', 'i', regularization => 5, holdout => 'none', options => '{"factors": 16}'); END $$;
\set VERBOSITY terse
SELECT hyperparameters ? 'regularization' AS there, hyperparameters ->> 'regularization' AS used FROM persona.versions WHERE model = 'given';
-- Asked for, the full form is refused where it does not fit.
DO $$
BEGIN
  PERFORM persona.train_ease('x', 'likes', 'u', 'i', options => '{"form": "full"}');
EXCEPTION WHEN SQLSTATE '53200' THEN RAISE NOTICE 'refused: 53200';
END $$;
-- The automatic choice tries it in the same case alone.
SET client_min_messages = warning;
SELECT algorithm FROM persona.train_recommender('auto', 'likes', 'u', 'i', options => '{"algorithms": ["popularity", "elsa"]}');
SELECT deploy_reason LIKE '%elsa%' AS tried, hyperparameters ->> 'form' AS form FROM persona.versions WHERE model = 'auto';
SELECT model FROM persona.train_recommender('pick', 'likes', 'u', 'i', budget => '2 minutes');
SELECT phase FROM persona.training_log WHERE model = 'pick' AND (phase LIKE '%ease%' OR phase LIKE '%elsa%') ORDER BY phase;
RESET persona.max_memory;
SELECT model FROM persona.train_recommender('pick', 'likes', 'u', 'i', budget => '2 seconds');
SELECT phase FROM persona.training_log WHERE model = 'pick' AND version = 2 AND phase LIKE '%elsa%' ORDER BY phase;
RESET client_min_messages;

-- Asked for, it is taken whatever the memory: 20 of the items that a user lacks are of the user's group, before all others.
SELECT algorithm, iterations, metric, value > 3 * baseline AS good
FROM persona.train_ease('low', 'likes', 'u', 'i', options => '{"form": "low_rank", "factors": 24, "iterations": 30, "batch_size": 50, "learning_rate": 0.05}');
SELECT count(*) FILTER (WHERE r.item_id::int / 100 = u % 20) > 0.95 * count(*) AS of_the_group, count(*) AS shown, min(r.source) AS source
FROM generate_series(1, 600, 13) AS u, LATERAL persona.recommend('low', u, 20) AS r;

-- A score is what the user's other items say, by every way to ask; of the user's own items too.
SELECT count(*), count(*) FILTER (WHERE l.i IS NOT NULL) > 100 AS own_too,
       bool_and(abs(r.score - persona.score('low', who.u, r.item_id)) < 1e-4) AS scored,
       bool_and(abs(r.score - e.total) < 1e-4) AS explained, bool_and(NOT e.itself) AS never_by_itself
FROM generate_series(1, 600, 60) AS who(u) CROSS JOIN LATERAL persona.recommend('low', who.u, 110, remove_seen => false) AS r
LEFT JOIN likes AS l ON l.u = who.u AND l.i = r.item_id::int
CROSS JOIN LATERAL (SELECT sum(contribution) AS total, bool_or(x.evidence_item_id = r.item_id) AS itself
                    FROM persona.explain('low', who.u, r.item_id, '{"k": 1000}') AS x) AS e;
SELECT count(*) AS differ FROM generate_series(1, 600, 60) AS who(u),
LATERAL (SELECT rank, item_id, round(score::numeric, 4) FROM persona.recommend('low', who.u, 9)
         EXCEPT SELECT rank, item_id, round(score::numeric, 4)
         FROM persona.recommend_for_items('low', (SELECT array_agg(i::text ORDER BY i) FROM likes WHERE likes.u = who.u), 9)) AS d;
SELECT bool_and(s.item_id::int / 100 = 3) AS alike FROM persona.similar_items('low', 342, 10) AS s;
SELECT count(*), count(DISTINCT factor) FROM (SELECT array_length(factors, 1) AS factor FROM persona.item_factors('low')) AS f;

-- Users whom a training did not see are measured as they are served.
SELECT metric, value > 0.1 AS good FROM persona.evaluate('low', k => 10, options => '{"split": "user"}') WHERE metric = 'ndcg@10';

-- A search looks among the settings of the form that the version has.
CALL persona.tune('low', 2, 'random', deploy => 'never');
SELECT trial, state, array(SELECT jsonb_object_keys(settings) ORDER BY 1) AS settings, error FROM low_trials ORDER BY trial;

-- What is refused.
SELECT persona.train_ease('x', 'likes', 'u', 'i', options => '{"form": "half"}');
SELECT persona.train_ease('x', 'likes', 'u', 'i', regularization => 5, options => '{"form": "low_rank"}');
SELECT persona.train_ease('x', 'likes', 'u', 'i', options => '{"factors": 0}');
SELECT persona.train_ease('x', 'likes', 'u', 'i', options => '{"factors": 2049}');
SELECT persona.train_ease('x', 'likes', 'u', 'i', options => '{"iterations": 10001}');
SELECT persona.train_ease('x', 'likes', 'u', 'i', options => '{"batch_size": 8193}');
SELECT persona.train_ease('x', 'likes', 'u', 'i', options => '{"learning_rate": 0}');
SELECT persona.retrain('low', '{"regularization": 3}');
SELECT persona.update_model('low');
DROP SCHEMA low_rank CASCADE;
