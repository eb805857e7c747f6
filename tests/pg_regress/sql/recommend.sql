-- The serving contract, on data whose answers are known.
SET client_min_messages = warning;
CREATE SCHEMA recommend;
SET search_path = recommend;

-- A checkerboard of 20 users and 20 items without its diagonal. Everybody of a colour has the same items but one: their own
-- number. So the best item for user n is n, the other colour comes after it, and all items are equally popular.
CREATE TABLE board AS
SELECT u, i FROM generate_series(1, 20) AS u, generate_series(1, 20) AS i WHERE (u + i) % 2 = 0 AND u <> i;
SELECT version, rows_used, rows_skipped, iterations, metric, value > baseline AS above_popularity, deployed, deploy_reason
FROM persona.train_als('m', 'board', 'u', 'i', factors => 4);

-- Ugly numbers first.
SELECT count(*) FROM persona.recommend('m', 1, 0);
SELECT count(*) FROM m_recommend(1, 0);
SELECT count(*) FROM persona.recommend('m', 1, 2147483647);
SELECT count(*) FROM m_recommend(1, 2147483647);
SELECT count(*) FROM m_recommend(NULL, 2147483647);
SELECT count(*) FROM persona.popular_items('m', 2147483647);
SELECT count(*) FROM persona.similar_items('m', 1, 2147483647);
SELECT count(*) FROM persona.similar_users('m', 1, 2147483647);
SELECT count(*) FROM persona.recommend_for_items('m', '{1}', 2147483647);
SELECT count(*) FROM persona.recommend_for_users('m', '{1,99}', 2147483647);
SELECT persona.recommend_for_items('m', '{1}', -1);
SELECT persona.recommend_for_users('m', '{1}', NULL);
SELECT persona.similar_items('m', 1, NULL);
SELECT persona.similar_users('m', 1, -2147483648);
SELECT persona.popular_items('m', NULL);

-- k rows whenever k items are eligible: 20 items, 9 seen, so 11 at most.
SELECT k, count(r) AS rows FROM unnest('{1,2,10,11,12,20}'::int[]) AS k LEFT JOIN LATERAL m_recommend(7, k) AS r ON true GROUP BY k ORDER BY k;
SELECT k, count(r) AS rows FROM unnest('{1,19,20,21}'::int[]) AS k LEFT JOIN LATERAL persona.recommend('m', 7, k, remove_seen => false) AS r ON true GROUP BY k ORDER BY k;
-- The first is the known one, for everybody; ranks count from 1; the scores fall; nothing seen comes back.
SELECT count(*) FROM generate_series(1, 20) AS u, LATERAL m_recommend(u, 1) AS r WHERE r.item_id = u AND r.rank = 1 AND r.source = 'model' AND r.score > 0.5;
SELECT bool_and(rank = row) AS counted, bool_and(score <= before) AS falling
FROM generate_series(1, 20) AS u,
     LATERAL (SELECT rank, score, row_number() OVER () AS row, lag(score, 1, 'Infinity') OVER () AS before FROM m_recommend(u, 20)) AS r;
SELECT count(*) FROM board AS b, LATERAL m_recommend(b.u, 20) AS r WHERE r.item_id = b.i;
-- With what was seen: the own colour before the other one.
SELECT count(*) FROM generate_series(1, 20) AS u, LATERAL persona.recommend('m', u, 10, remove_seen => false) AS r WHERE (r.item_id::int + u) % 2 = 0;

-- exclude: fewer to choose from, as many rows. Unknown ids, duplicates and NULLs in it do nothing.
SELECT count(*), bool_or(item_id = 7) AS has_7 FROM m_recommend(7, 10, exclude => '{7}');
SELECT count(*), bool_or(item_id = 7) AS has_7 FROM m_recommend(7, 10, exclude => '{7,7,NULL,99,-1}');
SELECT count(*) FROM m_recommend(7, 10, exclude => '{}');
SELECT count(*) FROM m_recommend(7, 10, exclude => '{NULL}');
SELECT count(*) FROM m_recommend(7, 10, exclude => (SELECT array_agg(i) FROM generate_series(1, 20) AS i));
SELECT item_id FROM m_recommend(7, 10, exclude => (SELECT array_agg(i) FROM generate_series(1, 20) AS i WHERE i <> 7));
SELECT count(*) FROM persona.recommend('m', 7, 10, exclude => '{7,8}') WHERE item_id IN ('7', '8');
-- candidates: nothing else. Unknown ids, duplicates and NULLs in it do nothing; none is none.
SELECT item_id, rank, source FROM m_recommend(7, 10, candidates => '{7,99,7,NULL}');
SELECT item_id FROM m_recommend(7, 10, candidates => '{4,7}');
SELECT item_id FROM m_recommend(7, 1, candidates => '{4,7}');
SELECT count(*) FROM m_recommend(7, 10, candidates => '{}');
SELECT count(*) FROM m_recommend(7, 10, candidates => '{NULL}');
SELECT count(*) FROM m_recommend(7, 10, candidates => '{99}');
SELECT count(*) FROM m_recommend(7, 10, candidates => NULL);
-- What was seen and what is excluded stays out, candidate or not.
SELECT item_id FROM m_recommend(7, 10, candidates => '{1,3,7}');
SELECT item_id::int FROM persona.recommend('m', 7, 10, candidates => '{1,3,7}', remove_seen => false) ORDER BY 1;
SELECT item_id FROM m_recommend(7, 10, candidates => '{1,3,7,8}', exclude => '{7}');
-- Candidates are ranked as without them.
SELECT a.item_id = b.item_id AND a.score = b.score AS same
FROM m_recommend(7, 3) AS a JOIN m_recommend(7, 3, candidates => (SELECT array_agg(i) FROM generate_series(20, 1, -1) AS i)) AS b USING (rank) ORDER BY rank;
-- NULL in a switch is its default.
SELECT count(*) FROM persona.recommend('m', 7, 20, remove_seen => NULL, fresh => NULL, options => NULL);

-- Popularity with exact shares: 12 pairs of 5 items; the repeated row counts once; equal items by id.
CREATE TABLE shop (buyer text, article int);
INSERT INTO shop VALUES ('a', 3), ('b', 3), ('c', 3), ('d', 3), ('a', 1), ('b', 1), ('c', 1), ('a', 2), ('b', 2), ('d', 2),
  ('a', 5), ('b', 4), ('a', 3), ('a', 3), (NULL, 4), ('c', NULL);
SELECT version, rows_used, rows_skipped FROM persona.train_als('shop_model', 'shop', 'buyer', 'article', factors => 2, holdout => 'none');
SELECT item_id, round(score::numeric, 6) AS score, rank, source FROM persona.popular_items('shop_model');
SELECT item_id, rank FROM persona.popular_items('shop_model', 2);
SELECT item_id, round(score::numeric, 6) AS score, rank, source FROM shop_model_recommend('nobody');
SELECT item_id, round(score::numeric, 6) AS score, rank, source FROM shop_model_recommend(NULL, 3);
SELECT item_id, round(score::numeric, 6) AS score, rank, source FROM shop_model_recommend();
SELECT item_id, rank, source FROM shop_model_recommend('nobody', 2, exclude => '{3,2}');
SELECT item_id, round(score::numeric, 6) AS score, rank FROM shop_model_recommend('nobody', 9, candidates => '{5,4,2,99,NULL,5}');
SELECT item_id, rank, source FROM persona.recommend('shop_model', NULL, 2);
SELECT item_id, rank, source FROM persona.recommend('shop_model', NULL::text, 2);
SELECT item_id, rank, source FROM persona.recommend_for_items('shop_model', '{99}', 2);
SELECT item_id, rank, source FROM persona.recommend_for_items('shop_model', '{}', 2);
SELECT item_id, rank, source FROM persona.recommend_for_items('shop_model', NULL, 2);
-- a has all but 4, which is all that is left; b all but 5; nobody has nothing left.
SELECT buyer, r.item_id, r.rank, r.source FROM unnest('{a,b}'::text[]) AS buyer, LATERAL shop_model_recommend(buyer) AS r ORDER BY buyer;
SELECT sum(score) > 0.999999 AND sum(score) < 1.000001 AS whole FROM persona.popular_items('shop_model', 100);
INSERT INTO shop VALUES ('all', 1), ('all', 2), ('all', 3), ('all', 4), ('all', 5);
SELECT (persona.train_als('shop_model', 'shop', 'buyer', 'article', factors => 2, holdout => 'none')).version;
SELECT count(*) FROM shop_model_recommend('all');
SELECT count(*) FROM persona.recommend('shop_model', 'all', remove_seen => false);

-- Items of a basket: what a user with exactly these would get, without them.
SELECT count(*) FROM generate_series(1, 20) AS u,
     LATERAL persona.recommend_for_items('m', (SELECT array_agg(i::text) FROM board WHERE board.u = u.u), 1) AS r WHERE r.item_id = u.u::text AND r.source = 'model';
SELECT item_id % 2 AS odd, count(*) FROM m_recommend_for_items('{1}', 9) GROUP BY 1;
SELECT item_id % 2 AS odd, count(*) FROM m_recommend_for_items('{2,4,99,NULL,4}', 8) GROUP BY 1;
SELECT count(*) FROM m_recommend_for_items('{1,2}', 20);
SELECT count(*) FROM m_recommend_for_items((SELECT array_agg(i) FROM generate_series(1, 20) AS i), 20);
SELECT a.item_id = b.item_id AS same FROM persona.recommend_for_items('m', '{4,2}', 5) AS a JOIN persona.recommend_for_items('m', '{2,4,2}', 5) AS b USING (rank) ORDER BY rank;

-- Neighbours: the nine others of the colour come first, never oneself; unknown and NULL have none.
SELECT count(*) FROM generate_series(1, 20) AS n, LATERAL persona.similar_items('m', n, 9) AS r WHERE (r.item_id::int + n) % 2 = 0 AND r.source = 'model' AND r.score > 0.9;
SELECT count(*) FROM generate_series(1, 20) AS n, LATERAL persona.similar_users('m', n, 9) AS r WHERE (r.user_id::int + n) % 2 = 0 AND r.score > 0.9;
SELECT count(*) FROM generate_series(1, 20) AS n, LATERAL m_similar_items(n, 20) AS r WHERE r.item_id = n;
SELECT count(*) FROM generate_series(1, 20) AS n, LATERAL persona.similar_users('m', n, 20) AS r WHERE r.user_id = n::text;
SELECT bool_and(score BETWEEN -1.000001 AND 1.000001) FROM m_similar_items(1, 20);
SELECT count(*) FROM persona.similar_items('m', 99);
SELECT count(*) FROM persona.similar_items('m', NULL);
SELECT count(*) FROM m_similar_items(NULL);
SELECT count(*) FROM persona.similar_users('m', 99);
SELECT count(*) FROM persona.similar_users('m', NULL);

-- Many users at once: in the order given, each once, NULLs skipped, unknown ones with what is popular.
SELECT user_id, item_id, rank, source FROM persona.recommend_for_users('m', '{7,2,NULL,7,02,19}', 1);
SELECT user_id, item_id, round(score::numeric, 6) AS score, rank, source FROM persona.recommend_for_users('m', '{99,3}', 2) WHERE source = 'popular';
SELECT count(*) FROM persona.recommend_for_users('m', '{}');
SELECT count(*) FROM persona.recommend_for_users('m', NULL);
SELECT count(*) FROM persona.recommend_for_users('m', '{NULL}');
SELECT bool_and(a.item_id = b.item_id AND a.score = b.score) AS same
FROM persona.recommend_for_users('m', (SELECT array_agg(u::text) FROM generate_series(1, 20) AS u), 11) AS a,
     LATERAL (SELECT * FROM persona.recommend('m', a.user_id, 11) AS r WHERE r.rank = a.rank) AS b;

-- The answers of a model are those of its factors: 50 users, 80 items, 24 factors, against plain SQL.
CREATE TABLE noise AS
SELECT u, i, ('x' || substr(md5(u || '-' || i), 1, 4))::bit(16)::int % 7 + 1 AS value
FROM generate_series(1, 50) AS u, generate_series(1, 80) AS i WHERE ('x' || substr(md5(u || '/' || i), 1, 4))::bit(16)::int % 10 < 3;
SELECT rows_used = (SELECT count(*) FROM noise) AS all_rows FROM persona.train_als('n', 'noise', 'u', 'i', 'value', factors => 24, holdout => 'none');
CREATE TABLE product AS
SELECT u.id::int AS u, i.id::int AS i, sum(a::float8 * b::float8) AS score, sqrt(sum(b::float8 * b)) AS norm
FROM persona.user_factors('n') AS u, persona.item_factors('n') AS i, LATERAL unnest(u.factors, i.factors) AS f (a, b) GROUP BY u.id, i.id;
SELECT count(*), max(abs(score - persona.score('n', u, i))) < 1e-5 AS close FROM product;
CREATE TABLE ranked AS
SELECT u, i, score, row_number() OVER (PARTITION BY u ORDER BY score DESC, i) AS rank
FROM product WHERE (u, i) NOT IN (SELECT u, i FROM noise);
-- Where two scores differ by less than single precision tells, either order is right: score by rank, and each item's own score.
SELECT count(*), bool_and(abs(r.score - b.score) < 1e-5) AS rank_close, bool_and(abs(r.score - p.score) < 1e-5) AS item_close,
       count(*) FILTER (WHERE r.item_id <> b.i) < 5 AS same_items
FROM generate_series(1, 50) AS u (n) CROSS JOIN LATERAL n_recommend(u.n, 20) AS r
JOIN ranked AS b ON b.u = u.n AND b.rank = r.rank JOIN product AS p ON p.u = u.n AND p.i = r.item_id;
-- The same with what was seen, and among candidates.
SELECT count(*), bool_and(abs(r.score - b.score) < 1e-5) AS close
FROM generate_series(1, 50) AS u (n) CROSS JOIN LATERAL persona.recommend('n', u.n, 10, remove_seen => false) AS r
JOIN (SELECT u, score, row_number() OVER (PARTITION BY u ORDER BY score DESC, i) AS rank FROM product) AS b ON b.u = u.n AND b.rank = r.rank;
SELECT count(*), bool_and(abs(r.score - b.score) < 1e-5) AS close
FROM generate_series(1, 50) AS u (n) CROSS JOIN LATERAL n_recommend(u.n, 5, candidates => (SELECT array_agg(i) FROM generate_series(1, 80, 3) AS i)) AS r
JOIN (SELECT u, score, row_number() OVER (PARTITION BY u ORDER BY score DESC, i) AS rank FROM ranked WHERE i % 3 = 1) AS b ON b.u = u.n AND b.rank = r.rank;
-- Cosines.
SELECT count(*), bool_and(abs(r.score - c.cosine) < 1e-5) AS close
FROM generate_series(1, 80) AS n, LATERAL n_similar_items(n, 10) AS r,
     LATERAL (SELECT sum(a::float8 * b) / sqrt(sum(a::float8 * a) * sum(b::float8 * b)) AS cosine
              FROM persona.item_factors('n') AS x, persona.item_factors('n') AS y, unnest(x.factors, y.factors) AS f (a, b)
              WHERE x.id = n::text AND y.id = r.item_id::text) AS c
WHERE n <= 20;
-- Factors: all users and items once, in the order of their ids, of the asked length, without a bias.
SELECT count(*), bool_and(id::int = row) AS ordered, bool_and(array_length(factors, 1) = 24) AS length, bool_and(bias IS NULL) AS no_bias
FROM (SELECT *, row_number() OVER () AS row FROM persona.item_factors('n')) AS f;
SELECT count(*), bool_and(id::int = row) AS ordered FROM (SELECT *, row_number() OVER () AS row FROM persona.user_factors('n')) AS f;

-- Equal rows give equal bits: in another physical order, with other threads, from repeated rows in place of a value.
CREATE TABLE shuffled AS SELECT * FROM noise ORDER BY md5(i || '.' || u);
CREATE TABLE repeated AS SELECT u, i FROM noise, generate_series(1, value);
CREATE TABLE dirty AS SELECT u, i, value::numeric FROM noise UNION ALL
  VALUES (NULL, 1, 1), (1, NULL, 1), (1, 1, NULL), (51, 1, numeric 'NaN'), (51, 1, 'Infinity'), (51, 81, 0), (51, 81, -1);
CREATE FUNCTION fingerprint(model text) RETURNS text LANGUAGE sql AS
$$SELECT md5(string_agg(f::text, '|' ORDER BY id)) FROM (SELECT * FROM persona.user_factors(model) UNION ALL SELECT * FROM persona.item_factors(model)) AS f$$;
SELECT (persona.train_als('n2', 'shuffled', 'u', 'i', 'value', factors => 24, holdout => 'none')).rows_used = (SELECT count(*) FROM noise) AS all_rows;
SELECT fingerprint('n') = fingerprint('n2') AS same;
SET persona.max_threads = 1;
SELECT (persona.train_als('n2', 'noise', 'u', 'i', 'value', factors => 24, holdout => 'none')).version;
SELECT fingerprint('n') = fingerprint('n2') AS same;
RESET persona.max_threads;
SELECT (persona.train_als('n2', 'repeated', 'u', 'i', factors => 24, holdout => 'none')).rows_used = (SELECT sum(value) FROM noise) AS all_rows;
SELECT fingerprint('n') = fingerprint('n2') AS same;
SELECT rows_used = (SELECT count(*) FROM noise) AS all_rows, rows_skipped FROM persona.train_als('n2', 'dirty', 'u', 'i', 'value', factors => 24, holdout => 'none');
SELECT fingerprint('n') = fingerprint('n2') AS same;
SELECT hyperparameters -> 'rows_with_null' AS with_null, hyperparameters -> 'rows_not_finite' AS not_finite, hyperparameters -> 'rows_not_positive' AS not_positive
FROM persona.versions WHERE model = 'n2' AND is_live;
-- What no double precision can hold is not finite either, nor is a sum that no real can hold: skipped, the rest is learned from.
CREATE TABLE vast AS SELECT u, i, value::numeric FROM noise UNION ALL VALUES (1, 1, numeric '1e400'), (51, 1, -1e400);
SELECT rows_used = (SELECT count(*) FROM noise) AS all_rows, rows_skipped FROM persona.train_als('n2', 'vast', 'u', 'i', 'value', factors => 24, holdout => 'none');
SELECT fingerprint('n') = fingerprint('n2') AS same;
-- A holdout does not change what is published: it is fitted on all rows.
SELECT (persona.train_als('n2', 'noise', 'u', 'i', 'value', factors => 24, holdout => 'hash', deploy => 'always')).version;
SELECT fingerprint('n') = fingerprint('n2') AS same;
SELECT (persona.train_als('n2', 'noise', 'u', 'i', 'value', factors => 24, holdout => 'none', seed => 43, deploy => 'always')).version;
SELECT fingerprint('n') = fingerprint('n2') AS same;
SELECT (persona.train_als('n2', 'noise', 'u', 'i', 'value', factors => 24, holdout => 'none', seed => 42, deploy => 'always')).version;
SELECT fingerprint('n') = fingerprint('n2') AS same;
SELECT (persona.train_als('n2', 'noise', 'u', 'i', 'value', factors => 24, holdout => 'none', seed => -9223372036854775808, deploy => 'always')).version;
-- Values of every numeric type.
ALTER TABLE noise ADD v2 smallint, ADD v8 bigint, ADD f4 real, ADD f8 float8, ADD n numeric(10, 2);
UPDATE noise SET v2 = value, v8 = value, f4 = value, f8 = value, n = value;
SELECT c, (persona.train_als('by_' || c, 'noise', 'u', 'i', c::name, factors => 24, holdout => 'none')).version FROM unnest('{v2,v8,f4,f8,n}'::text[]) AS c ORDER BY c;
SELECT c, fingerprint('n') = fingerprint('by_' || c) AS same FROM unnest('{v2,v8,f4,f8,n}'::text[]) AS c ORDER BY c;

-- NULL in every argument of every serving function that may be NULL.
SELECT count(*) FROM persona.recommend('m', NULL, 10, NULL, NULL, NULL, NULL, NULL);
SELECT count(*) FROM persona.recommend_as('m', NULL, NULL::int, 10, NULL, NULL, NULL, NULL, NULL);
SELECT count(*) FROM m_recommend(NULL, 10, NULL, NULL);
SELECT count(*) FROM persona.recommend_for_items('m', NULL, 10, NULL);
SELECT count(*) FROM m_recommend_for_items(NULL, 10);
SELECT count(*) FROM persona.recommend_for_users('m', NULL, 10, NULL);
SELECT count(*) FROM persona.similar_items('m', NULL, 10, NULL);
SELECT count(*) FROM m_similar_items(NULL, 10);
SELECT count(*) FROM persona.similar_users('m', NULL, 10, NULL);
SELECT count(*) FROM persona.popular_items('m', 10, NULL);
SELECT persona.score('m', NULL, 1) IS NULL, persona.score('m', 1, NULL) IS NULL, persona.score('m', 99, 1) IS NULL, persona.score('m', 1, 99) IS NULL;

-- Parallel workers answer as the leader does.
CREATE TABLE asked AS SELECT u FROM generate_series(1, 50) AS u;
CREATE FUNCTION is_parallel(query text) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
  FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
    IF line LIKE '%Gather%' THEN RETURN true; END IF;
  END LOOP;
  RETURN false;
END $$;
CREATE TABLE serial AS SELECT a.u, r.* FROM asked AS a, LATERAL n_recommend(a.u, 10) AS r;
SET max_parallel_workers_per_gather = 2;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SELECT is_parallel('SELECT a.u, r.* FROM asked AS a, LATERAL n_recommend(a.u, 10) AS r');
SELECT count(*) FROM (SELECT a.u, r.* FROM asked AS a, LATERAL n_recommend(a.u, 10) AS r EXCEPT SELECT * FROM serial) AS d;
SELECT count(*) FROM (SELECT * FROM serial EXCEPT SELECT a.u, r.* FROM asked AS a, LATERAL n_recommend(a.u, 10) AS r) AS d;
SELECT is_parallel('SELECT count(*) FROM asked AS a WHERE persona.score(''n'', a.u, 1) IS NOT NULL');
SELECT count(*) FROM asked AS a WHERE persona.score('n', a.u, 1) IS NOT NULL;
-- The second is its name since PostgreSQL 16.
SELECT set_config(name, 'on', false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
SELECT item_id, rank, source FROM m_recommend(7, 1);
SELECT item_id, rank, source FROM persona.recommend('m', 7, 1);
SELECT item_id, rank, source FROM persona.recommend_as('m', 7, NULL::bigint, 1);
SELECT item_id, rank, source FROM shop_model_recommend('nobody', 2);
SELECT count(*) FROM persona.similar_items('m', 1);
SELECT count(*) FROM persona.similar_users('m', 1);
SELECT count(*) FROM persona.recommend_for_users('m', '{1,2}');
SELECT count(*) FROM persona.recommend_for_items('m', '{1,2}');
SELECT count(*) FROM persona.item_factors('m');
SELECT count(*) FROM m;
SELECT count(*) FROM persona.models;
SELECT count(*) FROM persona.versions WHERE model = 'm';
SELECT count(*) FROM persona."check"();
SELECT persona.score('nothing', 1, 'x');
SELECT set_config(name, 'off', false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
RESET max_parallel_workers_per_gather;

-- Degenerate models: one user, one item, one of each.
CREATE TABLE tiny (u int, i int);
INSERT INTO tiny VALUES (1, 1);
SELECT rows_used, value, deployed FROM persona.train_als('tiny_model', 'tiny', 'u', 'i');
SELECT count(*) FROM tiny_model_recommend(1);
SELECT item_id, score, rank, source FROM tiny_model_recommend(2);
SELECT count(*) FROM tiny_model_similar_items(1);
INSERT INTO tiny SELECT 1, i FROM generate_series(2, 5) AS i;
SELECT rows_used FROM persona.train_als('tiny_model', 'tiny', 'u', 'i', deploy => 'always');
SELECT count(*) FROM tiny_model_recommend(1);
SELECT round(score::numeric, 6) AS score, item_id, rank FROM tiny_model_recommend(2, 2);
SELECT rows_used FROM persona.train_als('tiny_other', 'tiny', 'i', 'u', factors => 1, iterations => 1);
SELECT item_id, score, rank, source FROM tiny_other_recommend(99);

SELECT persona.drop_model(m) FROM unnest('{m,n,n2,shop_model,tiny_model,tiny_other,by_v2,by_v8,by_f4,by_f8,by_n}'::text[]) AS m;
DROP SCHEMA recommend CASCADE;
