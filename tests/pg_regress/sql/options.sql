-- Options of recommend: pages, diversity, few of a category, only what a relation shows now.
SET client_min_messages = warning;
CREATE SCHEMA options;
SET search_path = options;

-- Two kinds of forty items each; everybody has some of one kind.
CREATE TABLE likes AS
SELECT u, i FROM generate_series(1, 60) AS u, generate_series(1, 80) AS i WHERE u % 2 = i % 2 AND (u * 7 + i * 3) % 5 < 2;
SELECT version FROM persona.train_als('als', 'likes', 'u', 'i', factors => 6, holdout => 'none');
SELECT version FROM persona.train_item_knn('knn', 'likes', 'u', 'i', holdout => 'none');
CREATE TABLE shelf (id int PRIMARY KEY, kind text, brand text);
INSERT INTO shelf SELECT i, CASE WHEN i % 2 = 0 THEN 'even' ELSE 'odd' END, 'b' || i % 7 FROM generate_series(1, 80) AS i;
CREATE TABLE stock (i int PRIMARY KEY, shop text);
INSERT INTO stock SELECT i, CASE WHEN i % 3 = 0 THEN 'near' ELSE 'far' END FROM generate_series(1, 80) AS i WHERE i % 4 <> 1;

-- Pages of any size are the list cut into pieces; ranks go on counting.
SELECT m, size, o.options AS plus, count(*) AS rows, bool_and(p.item_id = w.item_id AND p.score = w.score AND p.source = w.source) AS same
FROM unnest('{als,knn}'::text[]) AS m, unnest('{1,7,16,100}'::int[]) AS size,
     (VALUES ('{}'::jsonb), ('{"diversity": 0.5}'), ('{"eligible": "stock"}'),
             ('{"max_per_category": 4, "categories": {"relation": "shelf", "item_column": "id", "category_column": "brand"}}')) AS o (options),
     generate_series(0, 99 / size) AS page,
     LATERAL persona.recommend(m, 3, size, options => o.options || jsonb_build_object('offset', page * size)) AS p

JOIN LATERAL persona.recommend(m, 3, 100, options => o.options) AS w ON w.rank = p.rank
WHERE p.rank BETWEEN page * size + 1 AND (page + 1) * size
GROUP BY m, size, o.options ORDER BY m, o.options::text, size;
-- The same for the other forms.
SELECT min(rank), max(rank) FROM persona.recommend_as('als', 3, NULL::int, 5, options => '{"offset": 10}');
SELECT user_id, min(rank), max(rank) FROM persona.recommend_for_users('als', '{3,999}', 5, '{"offset": 10}') GROUP BY user_id ORDER BY user_id;
SELECT min(rank), max(rank) FROM persona.recommend_for_items('als', '{1,3}', 5, '{"offset": 10}');
SELECT count(*) FROM persona.recommend('als', 3, 5, options => '{"offset": 2147483647}');
SELECT count(*) FROM persona.recommend('als', 3, 2147483647, options => '{"offset": 60}');

-- Similar and popular items: in stock, few of a brand, in pages, against the whole lists.
SELECT f, count(*), bool_and(p.item_id = w.item_id AND p.score = w.score) AS same, min(p.rank), max(p.rank)
FROM unnest('{similar als,similar knn,popular}'::text[]) AS f,
     LATERAL (SELECT * FROM persona.similar_items(substr(f, 9), 4, 5, '{"eligible": "stock", "offset": 5}') WHERE f ~ 'similar'
              UNION ALL SELECT * FROM persona.popular_items('als', 5, '{"eligible": "stock", "offset": 5}') WHERE f = 'popular') AS p
LEFT JOIN LATERAL (
  SELECT l.*, row_number() OVER (ORDER BY l.rank) AS place
  FROM (SELECT * FROM persona.similar_items(substr(f, 9), 4, 80) WHERE f ~ 'similar'
        UNION ALL SELECT * FROM persona.popular_items('als', 80) WHERE f = 'popular') AS l
  JOIN stock ON stock.i = l.item_id::int) AS w ON w.place = p.rank
GROUP BY f ORDER BY f;
SELECT count(*), max(times) FROM (
  SELECT brand, count(*) AS times FROM persona.similar_items('als', 4, 14, '{"max_per_category": 2, "categories": {"relation": "shelf", "item_column": "id", "category_column": "brand"}}')
  JOIN shelf ON id = item_id::int GROUP BY brand) AS of_brand;
SELECT count(*) FROM persona.similar_items('als', 9999, 5, '{"eligible": "stock"}');
SELECT persona.similar_items('als', 4, 5, '{"segment": "x"}');

-- Diversity: the first stays the best; more of it, less alike; still k rows.
CREATE FUNCTION alike(m text, diversity float8) RETURNS float8 LANGUAGE sql AS $$
  WITH r AS (SELECT item_id, rank FROM persona.recommend(m, 3, 10, options => jsonb_build_object('diversity', diversity)))
  SELECT avg(coalesce(s.score, 0)) FROM r AS a JOIN r AS b ON a.rank < b.rank
  LEFT JOIN LATERAL (SELECT score FROM persona.similar_items(m, a.item_id, 100) AS s WHERE s.item_id = b.item_id) AS s ON true $$;
SELECT alike('als', 0.5) < alike('als', 0) AS half, alike('als', 1) <= alike('als', 0.5) AS whole;
SELECT d, count(*), count(DISTINCT item_id), bool_or(rank = 1 AND item_id = (SELECT item_id FROM als_recommend(3, 1))::text) AS best_first
FROM unnest('{0,0.3,1}'::float8[]) AS d, persona.recommend('als', 3, 30, options => jsonb_build_object('diversity', d)) AS r GROUP BY d ORDER BY d;
SELECT count(*) FROM persona.recommend('als', 999, 30, options => '{"diversity": 0.5}') WHERE source = 'popular';

-- At most n of a category: all k come as long as the caps allow it, best first.
SELECT max(n) AS most, sum(n) AS rows FROM (
  SELECT count(*) AS n FROM persona.recommend('als', 3, 12, options => '{"max_per_category": 2, "categories": {"relation": "options.shelf", "item_column": "id", "category_column": "brand"}}') AS r
  JOIN shelf ON id = r.item_id::int GROUP BY brand) AS c;
SELECT string_agg(kind || ' ' || n, ', ' ORDER BY kind) FROM (
  SELECT kind, count(*) AS n FROM persona.recommend('als', 3, 50, options => '{"max_per_category": 5, "categories": {"relation": "shelf", "item_column": "id", "category_column": "kind"}}') AS r
  JOIN shelf ON id = r.item_id::int GROUP BY kind) AS c;
SELECT bool_and(r.item_id = e.item_id) AS greedy FROM
  persona.recommend('als', 3, 10, options => '{"max_per_category": 5, "categories": {"relation": "shelf", "item_column": "id", "category_column": "kind"}}') AS r
  JOIN (SELECT item_id, row_number() OVER (ORDER BY rank) AS rank FROM (
          SELECT r.*, row_number() OVER (PARTITION BY kind ORDER BY rank) AS n FROM persona.recommend('als', 3, 80) AS r JOIN shelf ON id = r.item_id::int) AS x
        WHERE n <= 5) AS e USING (rank);

-- An item without a category is never too many.
CREATE VIEW unlabelled AS SELECT id, nullif(kind, 'even') AS kind FROM shelf;
SELECT count(*) FILTER (WHERE item_id::int % 2 = 1) AS odd, count(*) FILTER (WHERE item_id::int % 2 = 0) AS even
FROM persona.recommend('als', 3, 80, options => '{"max_per_category": 2, "categories": {"relation": "unlabelled", "item_column": "id", "category_column": "kind"}}');

-- Only what a relation shows: always k, by rank what a join would leave.
SELECT k, count(*), bool_and(r.item_id = e.item_id AND r.score = e.score) AS as_joined FROM unnest('{1,10,30}'::int[]) AS k,
  persona.recommend('als', 3, k, options => '{"eligible": "stock"}') AS r
  JOIN (SELECT item_id, score, row_number() OVER (ORDER BY rank) AS rank FROM persona.recommend('als', 3, 80) WHERE item_id::int IN (SELECT i FROM stock)) AS e USING (rank)
GROUP BY k ORDER BY k;
SELECT count(*) FROM persona.recommend('als', 3, 80, options => '{"eligible": "shelf", "eligible_column": "id"}');
CREATE VIEW nothing AS SELECT i::bigint FROM stock WHERE false;
SELECT count(*) FROM persona.recommend('als', 3, 10, options => '{"eligible": "nothing"}');
SELECT count(*) FROM persona.recommend('als', NULL::int, 10, options => '{"eligible": "stock"}') WHERE item_id::int IN (SELECT i FROM stock) AND source = 'popular';
-- It is asked about the items in question alone, not read.
CREATE FUNCTION seen_by(x int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('options.looks'); RETURN true; END $$;
CREATE SEQUENCE looks;
CREATE TABLE large AS SELECT i FROM generate_series(1, 20000) AS i;
CREATE VIEW looked AS SELECT i FROM large WHERE seen_by(i);
SELECT count(*) FROM persona.recommend('als', 3, 10, options => '{"eligible": "looked"}');
SELECT currval('looks') <= 100 AS few_rows;
-- What this transaction wrote is seen by its next statement, and a statement sees one state.
BEGIN;
DELETE FROM stock WHERE i <> 7;
SELECT item_id FROM persona.recommend('als', 3, 10, options => '{"eligible": "stock"}', remove_seen => false);
ROLLBACK;
-- Together.
SELECT count(*), bool_and(item_id::int IN (SELECT i FROM stock)), min(rank)
FROM persona.recommend('als', 3, 5, options => '{"eligible": "stock", "diversity": 0.4, "offset": 3, "max_per_category": 2, "categories": {"relation": "shelf", "item_column": "id", "category_column": "brand"}}');

-- The caller's rights: grants and row security.
CREATE ROLE regress_web;
GRANT USAGE ON SCHEMA options, persona TO regress_web;
GRANT SELECT ON als TO regress_web;
SET ROLE regress_web;
SELECT persona.recommend('als', 3, 5, options => '{"eligible": "stock"}');
RESET ROLE;
GRANT SELECT ON stock TO regress_web;
ALTER TABLE stock ENABLE ROW LEVEL SECURITY;
CREATE POLICY near ON stock FOR SELECT TO regress_web USING (shop = current_setting('options.shop'));
SET ROLE regress_web;
SET options.shop = 'near';
SELECT count(*), bool_and(item_id::int % 3 = 0) FROM persona.recommend('als', 3, 10, options => '{"eligible": "stock"}');
SET options.shop = 'far';
SELECT count(*), bool_and(item_id::int % 3 <> 0) FROM persona.recommend('als', 3, 10, options => '{"eligible": "stock"}');

RESET ROLE;

-- Errors.
CREATE TABLE odd (i text, "i; DROP TABLE stock" int, u uuid, real real);
SELECT persona.recommend('als', 3, 5, options => '{"ofset": 1}');
SELECT persona.recommend('als', 3, 5, options => '{"offset": -1}');
SELECT persona.recommend('als', 3, 5, options => '{"offset": 1.5}');
SELECT persona.recommend('als', 3, 5, options => '{"diversity": 1.01}');
SELECT persona.recommend('als', 3, 5, options => '{"diversity": "much"}');
SELECT persona.recommend('als', 3, 5, options => '{"max_per_category": 2}');
SELECT persona.recommend('als', 3, 5, options => '{"max_per_category": 0, "categories": {}}');
SELECT persona.recommend('als', 3, 5, options => '{"max_per_category": 1, "categories": {"relation": "shelf"}}');
SELECT persona.recommend('als', 3, 5, options => '{"max_per_category": 1, "categories": {"relation": "shelf", "colum": 1}}');
SELECT persona.recommend('als', 3, 5, options => '{"max_per_category": 1, "categories": "shelf"}');
SELECT persona.recommend('als', 3, 5, options => '{"categories": {"relation": "shelf", "item_column": "id", "category_column": "brand"}}');
SELECT persona.recommend('als', 3, 5, options => '{"max_per_category": 1, "categories": {"relation": "shelf", "item_column": "id", "category_column": "brands"}}');
SELECT persona.recommend('als', 3, 5, options => '{"max_per_category": 1, "categories": {"relation": "shelves", "item_column": "id", "category_column": "brand"}}');
SELECT persona.recommend('als', 3, 5, options => '{"max_per_category": 1, "categories": {"relation": "shelf", "item_column": "ids", "category_column": "brand"}}');
SELECT persona.recommend('als', 3, 5, options => '{"eligible": "shelf", "eligible_column": "ids"}');
SELECT persona.recommend('als', 3, 5, options => '{"eligible_column": "i"}');
SELECT persona.recommend('als', 3, 5, options => '{"eligible": "shelf"}');
SELECT persona.recommend('als', 3, 5, options => '{"eligible": "nowhere"}');
SELECT persona.recommend('als', 3, 5, options => '{"eligible": "odd"}');
SELECT persona.recommend('als', 3, 5, options => '{"eligible": "odd", "eligible_column": "u"}');
SELECT persona.recommend('als', 3, 5, options => '{"eligible": "odd", "eligible_column": "real"}');
SELECT count(*) FROM persona.recommend('als', 3, 5, options => '{"eligible": "odd", "eligible_column": "i; DROP TABLE stock"}');
SELECT persona.recommend('als', 3, 5, options => '{"eligible": "looks"}');
SELECT persona.similar_users('als', 3, 5, '{"offset": 1}');

-- Ids of other types.
CREATE TYPE mood AS ENUM ('a', 'b', 'c', 'd');
CREATE TABLE texts AS SELECT u, 'item ' || i AS t, i::text::char(4) AS c, (ARRAY['a','b','c','d'])[1 + i % 4]::mood AS e, date '2024-01-01' + i AS d,
  md5(i::text)::uuid AS g FROM likes;
SELECT (persona.train_als(c, 'texts', 'u', c, factors => 4, holdout => 'none')).version FROM unnest('{t,c,e,d,g}'::text[]) AS c;
SELECT c, count(r) FROM unnest('{t,c,e,d,g}'::text[]) AS c LEFT JOIN LATERAL persona.recommend(c, 3, 100, remove_seen => false, options => '{"eligible": "texts"}') AS r ON true GROUP BY c ORDER BY c;
SELECT count(DISTINCT t) AS t, count(DISTINCT c) AS c, count(DISTINCT e) AS e, count(DISTINCT d) AS d, count(DISTINCT g) AS g FROM texts;
SELECT count(*) FROM persona.recommend('t', 3, 3, options => '{"eligible": "texts", "eligible_column": "e"}');

DROP SCHEMA options CASCADE;
REVOKE ALL ON SCHEMA persona FROM regress_web;
DROP ROLE regress_web;
