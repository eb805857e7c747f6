-- What holds for every trainer of recommenders: one suite for all of them.
SET client_min_messages = warning;
CREATE SCHEMA trainers;
SET search_path = trainers;
SET persona.max_threads = 2;

CREATE TABLE trainer (name text PRIMARY KEY, call text, again text);
INSERT INTO trainer VALUES
  ('als', $$persona.train_als(%L, %L, 'u', 'i', factors => 4%s)$$, '{"factors": 2}'),
  ('bpr', $$persona.train_bpr(%L, %L, 'u', 'i', factors => 4, iterations => 100%s)$$, '{"iterations": 5}'),
  ('warp', $$persona.train_sgd(%L, %L, 'u', 'i', factors => 4, iterations => 100, regularization => 0.01%s)$$, '{"loss": "bpr", "optimizer": "adam", "learning_rate": 0.01}'),
  ('logistic', $$persona.train_sgd(%L, %L, 'u', 'i', loss => 'logistic', factors => 4, iterations => 100%s)$$, '{"threads": 1}'),
  ('squared', $$persona.train_sgd(%L, %L, 'u', 'i', loss => 'squared', factors => 4, iterations => 100, learning_rate => 0.05, options => '{"negatives": 2}'%s)$$, '{"dropout": 0.2}'),
  ('ease', $$persona.train_ease(%L, %L, 'u', 'i', regularization => 1%s)$$, '{"regularization": 5}'),
  ('elsa', $$persona.train_ease(%L, %L, 'u', 'i', options => '{"form": "low_rank", "factors": 4, "iterations": 100}'%s)$$, '{"iterations": 50}'),
  ('cosine', $$persona.train_item_knn(%L, %L, 'u', 'i'%s)$$, '{"neighbours": 3}'),
  ('jaccard', $$persona.train_item_knn(%L, %L, 'u', 'i', similarity => 'jaccard', options => '{"shrinkage": 2}'%s)$$, '{"similarity": "cosine"}'),
  ('tf_idf', $$persona.train_item_knn(%L, %L, 'u', 'i', similarity => 'tf_idf'%s)$$, '{"neighbours": 5}'),
  ('bm25', $$persona.train_item_knn(%L, %L, 'u', 'i', similarity => 'bm25', options => '{"k1": 1.5, "b": 0.5}'%s)$$, '{"b": 0.1}');

-- Trains by every trainer from a table: what each answers.
CREATE FUNCTION train_all(prefix text, source text, more text DEFAULT ', holdout => ''none''')
  RETURNS TABLE(trainer text, version int, rows_used bigint, rows_skipped bigint, deployed bool) LANGUAGE plpgsql AS $$
DECLARE
  each trainers.trainer;
BEGIN
  FOR each IN SELECT * FROM trainers.trainer t ORDER BY t.name LOOP
    RETURN QUERY EXECUTE format('SELECT %L::text, version, rows_used, rows_skipped, deployed FROM ' || each.call,
                                each.name, prefix || '_' || each.name, source, more);
  END LOOP;
END $$;

-- A checkerboard of 20 users and 20 items without its diagonal: everybody of a colour has the same items but one, their own
-- number, which is the best item for them.
CREATE TABLE board AS
SELECT u, i FROM generate_series(1, 20) AS u, generate_series(1, 20) AS i WHERE (u + i) % 2 = 0 AND u <> i;
SELECT * FROM train_all('m', 'board');
SELECT name, count(*) FILTER (WHERE rank = 1 AND item_id = u::text AND source = 'model') AS own_first, count(*) AS rows
FROM trainer, generate_series(1, 20) AS u, LATERAL persona.recommend('m_' || name, u, 20) AS r
GROUP BY name ORDER BY name;
SELECT name, count(*) AS seen_again
FROM trainer JOIN board ON true JOIN LATERAL persona.recommend('m_' || name, board.u, 20) r ON r.item_id = board.i::text GROUP BY name;

-- Scores fall, ranks count, score() says what recommend says.
SELECT name, bool_and(rank = row) AS counted, bool_and(score <= before) AS falling,
       bool_and(score = persona.score('m_' || name, u, item_id)) AS same_score
FROM trainer, generate_series(1, 20) AS u,
     LATERAL (SELECT item_id, rank, score, row_number() OVER () AS row, lag(score, 1, 'Infinity') OVER () AS before
              FROM persona.recommend('m_' || name, u, 20)) AS r
GROUP BY name ORDER BY name;

-- Who is not known gets what is popular; filters and candidates do not shrink the answer.
SELECT name, (SELECT count(*) FILTER (WHERE source = 'popular') FROM persona.recommend('m_' || name, 99, 5)) AS unknown,
       (SELECT count(*) FROM persona.recommend('m_' || name, 1, 5, exclude => '{1,2,3}')) AS excluded,
       (SELECT string_agg(item_id, ',' ORDER BY item_id::int) FROM persona.recommend('m_' || name, 1, 5, candidates => '{1,2,4}')) AS candidates,
       (SELECT count(*) FROM persona.recommend('m_' || name, 1, 50, remove_seen => false)) AS everything,
       (SELECT item_id FROM persona.recommend_for_items('m_' || name, '{1,3,5,7,9,11,13,15,17}', 1)) AS for_items,
       (SELECT bool_and(item_id::int % 2 = 1) FROM persona.similar_items('m_' || name, 1, 5)) AS similar_items,
       (SELECT bool_and(user_id::int % 2 = 1) FROM persona.similar_users('m_' || name, 1, 5)) AS similar_users
FROM trainer ORDER BY name;

-- The same rows in another physical order, and with one thread: the same answers to the bit.
CREATE TABLE shuffled AS SELECT * FROM board ORDER BY (u * 7919 + i * 104729) % 1009;
SET persona.max_threads = 1;
SELECT count(*) FROM train_all('s', 'shuffled');
SELECT name, count(*) AS differ
FROM trainer, generate_series(1, 20) AS u,
     LATERAL (SELECT * FROM persona.recommend('m_' || name, u, 20) EXCEPT SELECT * FROM persona.recommend('s_' || name, u, 20)) AS d
GROUP BY name;

-- The table of everybody's recommendations says the same, and changes only where it differs.
SELECT name, persona.recommend_all('m_' || name, 3) FROM trainer ORDER BY name;
CREATE FUNCTION recs(name text) RETURNS TABLE(u int, rank int, i int, score real, source text, model_version int) LANGUAGE plpgsql AS $$
BEGIN
  RETURN QUERY EXECUTE format('SELECT u, rank, i, score, source, model_version FROM m_%s_recs', name);
END $$;
SELECT name, count(*) AS differ
FROM trainer, LATERAL recs(name) AS t
LEFT JOIN LATERAL persona.recommend('m_' || name, t.u, 3) AS r ON r.rank = t.rank AND r.item_id = t.i::text AND r.score = t.score AND r.source = t.source
WHERE r.rank IS NULL GROUP BY name;
SELECT persona.recommend_all('m_ease', 3), (SELECT count(*) FROM m_ease_recs WHERE xmin::text = pg_current_xact_id()::xid::text) AS written;

-- Retraining takes other settings, keeps the model's own, and the version says what was used.
SELECT name, r.version, r.deployed FROM trainer, LATERAL persona.retrain('m_' || name, again::jsonb) AS r ORDER BY name;
SELECT name, again::jsonb <@ v.hyperparameters AS noted
FROM trainer JOIN persona.versions v ON v.model = 'm_' || name AND v.version = 2 WHERE name NOT IN ('logistic') ORDER BY name;
SELECT persona.recommend_all('m_ease', 3);
SELECT model_version, count(*) FROM m_ease_recs GROUP BY model_version ORDER BY model_version;
SELECT name, persona.rollback('m_' || name) FROM trainer ORDER BY name;

-- A holdout measures every one of them, and evaluate answers other cutoffs from a refit.
SELECT count(*) FROM train_all('h', 'board', ', deploy => ''always''');
SELECT name, metric, count(*) FROM trainer JOIN persona.metrics m ON m.model = 'h_' || name AND metric = 'ndcg@10' GROUP BY name, metric ORDER BY name;
SELECT name, (SELECT count(*) FROM persona.evaluate('h_' || name, k => 3)) AS figures FROM trainer ORDER BY name;

-- A training that held-out rows end: with the best pass, and less learning after each that was no better.
SELECT iterations < 400 AS early, converged FROM persona.train_sgd('early', 'board', 'u', 'i', factors => 4, iterations => 400, holdout => 'none', options => '{"patience": 3, "decay": 0.5}');
SELECT hyperparameters ->> 'patience' AS patience, hyperparameters ->> 'decay' AS decay FROM persona.versions WHERE model = 'early';
SELECT version, iterations FROM persona.retrain('early', '{"patience": 1, "iterations": 1}');

-- One user, one item, nothing.
CREATE TABLE one_user AS SELECT 1 AS u, i FROM generate_series(1, 5) AS i;
CREATE TABLE one_item AS SELECT u, 1 AS i FROM generate_series(1, 5) AS u;
CREATE TABLE one_row AS SELECT 1 AS u, 1 AS i;
CREATE TABLE no_row AS SELECT 1 AS u, 1 AS i WHERE false;
SELECT count(*) FROM train_all('ou', 'one_user');
SELECT count(*) FROM train_all('oi', 'one_item');
SELECT count(*) FROM train_all('or', 'one_row');
SELECT name, (SELECT count(*) FROM persona.recommend('ou_' || name, 1, 5, remove_seen => false)) AS one_user,
       (SELECT count(*) FROM persona.recommend('oi_' || name, 1, 5, remove_seen => false)) AS one_item,
       (SELECT count(*) FROM persona.recommend('or_' || name, 1, 5, remove_seen => false)) AS one_row,
       (SELECT count(*) FROM persona.recommend('or_' || name, 1, 5)) AS nothing_left
FROM trainer ORDER BY name;
DO $$
DECLARE
  each trainers.trainer;
BEGIN
  FOR each IN SELECT * FROM trainers.trainer ORDER BY name LOOP
    BEGIN
      EXECUTE format('SELECT * FROM ' || each.call, 'no_' || each.name, 'no_row', '');
      RAISE WARNING '% learned from nothing', each.name;
    EXCEPTION WHEN SQLSTATE '02000' THEN NULL;
    END;
  END LOOP;
END $$;

-- What each refuses.
\set VERBOSITY terse
SELECT persona.train_ease('x', 'board', 'u', 'i', regularization => 0);
SELECT persona.train_ease('x', 'board', 'u', 'i', regularization => 'NaN');
SELECT persona.train_ease('x', 'board', 'u', 'i', options => '{"neighbours": 0}');
SELECT persona.train_item_knn('x', 'board', 'u', 'i', similarity => 'pearson');
SELECT persona.train_item_knn('x', 'board', 'u', 'i', neighbours => 0);
SELECT persona.train_item_knn('x', 'board', 'u', 'i', similarity => 'bm25', options => '{"b": 2}');
SELECT persona.train_item_knn('x', 'board', 'u', 'i', options => '{"shrinkage": "much"}');
SELECT persona.train_bpr('x', 'board', 'u', 'i', factors => 0);
SELECT persona.train_bpr('x', 'board', 'u', 'i', learning_rate => 0);
SELECT persona.train_bpr('x', 'board', 'u', 'i', options => '{"negatives": 0}');
SELECT persona.train_sgd('x', 'board', 'u', 'i', loss => 'hinge');
SELECT persona.train_sgd('x', 'board', 'u', 'i', loss => NULL);
SELECT persona.train_sgd('x', 'board', 'u', 'i', optimizer => 'rmsprop');
SELECT persona.train_sgd('x', 'board', 'u', 'i', options => '{"dropout": 1}');
SELECT persona.train_sgd('x', 'board', 'u', 'i', options => '{"biases": 1}');
SELECT persona.train_sgd('x', 'board', 'u', 'i', options => '{"decay": 0.5}');
SELECT persona.train_sgd('x', 'board', 'u', 'i', options => '{"patience": 3, "decay": 2}');
SELECT persona.train_sgd('x', 'board', 'u', 'i', options => '{"sampling": "all"}');
SELECT persona.train_ease('m_als', 'board', 'nobody', 'i');
SELECT persona.recommend_all('m_als', 10001);
SELECT persona.recommend_all('nothing', 3);
CREATE TABLE ranked AS SELECT u AS rank, i FROM board;
SELECT version FROM persona.train_ease('ranked_m', 'ranked', 'rank', 'i', holdout => 'none');
SELECT persona.recommend_all('ranked_m', 3);
SELECT persona.item_factors('m_ease');
SELECT persona.recommend_all('m_als', NULL);

-- The table keeps the columns that it was made with, whatever those of the source are called by now.
CREATE TABLE moved AS SELECT u, i FROM board;
SELECT version FROM persona.train_als('moved_m', 'moved', 'u', 'i', factors => 4, holdout => 'none');
SELECT persona.recommend_all('moved_m', 2) > 0 AS written;
ALTER TABLE moved RENAME u TO who;
SELECT persona.alter_model('moved_m', column_map => '{"user_column": "who"}');
SELECT deployed FROM persona.retrain('moved_m');
SELECT persona.recommend_all('moved_m', 3) > 0 AS written;
SELECT count(*) = 3 * count(DISTINCT u) AS three_each, max(model_version) FROM moved_m_recs;
DROP SCHEMA trainers CASCADE;
