-- pg_persona on real data: which packages of Debian need which others, from the lists of this machine; and the orders
-- of a shop, which a Python package ships.
-- Run by `make demo`; or, where pg_persona is installed, from the top of the repository:
--   createdb demo && psql -X -q -d demo -f docs/demo.sql
\set ON_ERROR_STOP 1
\pset footer off
SET client_min_messages = warning;

\echo
\echo '== 1. Load: the packages of this machine, and what they depend on or recommend'
\echo
CREATE EXTENSION IF NOT EXISTS pg_persona;
CREATE SCHEMA demo;
CREATE TABLE demo.packages (name text PRIMARY KEY, title text, section text);
CREATE TABLE demo.lines (package text, dependency text);
\copy demo.packages from program 'docs/demo_data.sh packages'
\copy demo.lines from program 'docs/demo_data.sh uses'

-- A "user" is a package that uses at least five others: less says too little about it.
CREATE TABLE demo.uses AS
  SELECT package, dependency
  FROM (SELECT *, count(*) OVER (PARTITION BY package) AS n FROM demo.lines) AS counted
  WHERE n >= 5;
ALTER TABLE demo.uses ADD PRIMARY KEY (package, dependency);
DROP TABLE demo.lines;
ANALYZE demo.uses, demo.packages;

SELECT count(*) AS uses, count(DISTINCT package) AS packages, count(DISTINCT dependency) AS dependencies,
       round(count(*)::numeric / count(DISTINCT package), 1) AS per_package
FROM demo.uses;

\echo '== 2. Train: a model is one function call, and then a view that you can GRANT, rename and dump'
\echo
\echo 'SELECT * FROM persona.train_als(''demo.for_you'', ''demo.uses'', ''package'', ''dependency'')'
\echo '(it fits once to measure itself on hidden rows, then again on all of them)'
\timing on
SELECT * FROM persona.train_als('demo.for_you', 'demo.uses', 'package', 'dependency') \gx
\timing off

\echo
\echo '== 3. Is it any good? Hidden rows found again, beside recommending to all what is popular'
\echo
SELECT metric, round(value::numeric, 3) AS for_you, round(baseline::numeric, 3) AS popularity,
       round((value / nullif(baseline, 0))::numeric, 1) AS times, meaning
FROM (VALUES (1, 'hit_rate@10', 'packages with a hidden dependency among ten'),
             (2, 'recall@10', 'hidden dependencies that are among the ten'),
             (3, 'ndcg@10', 'the same, and the further up the better'),
             (4, 'coverage@10', 'dependencies that anybody is shown')) AS told (number, metric, meaning)
JOIN persona.evaluate('demo.for_you') USING (metric)
ORDER BY number;

\echo '== 4. Recommend: what three well-known packages might use next'
\echo
-- Those that this release of Debian has.
CREATE TABLE demo.known AS
  SELECT row_number() OVER (ORDER BY position) AS number, package
  FROM unnest(ARRAY['gimp', 'blender', 'postgresql-__', 'inkscape', 'audacity', 'octave', 'qgis', 'krita'])
    WITH ORDINALITY AS wanted (pattern, position)
  CROSS JOIN LATERAL (SELECT max(package) AS package FROM demo.uses WHERE package LIKE pattern) AS found
  WHERE package IS NOT NULL
  ORDER BY position
  LIMIT 3;

-- A package is no news to itself.
CREATE TABLE demo.shown AS
  SELECT known.number, known.package, r.*
  FROM demo.known
  CROSS JOIN LATERAL demo.for_you_recommend(known.package, 5, exclude => ARRAY[known.package]) AS r;

SELECT package, rank, left(item_id, 24) AS recommended, round(score::numeric, 2) AS score,
       left(coalesce(title, '(a virtual package)'), 40) AS title
FROM demo.shown
LEFT JOIN demo.packages ON name = item_id
ORDER BY number, rank;

\echo '== 5. Why? What the package already uses that is most like the recommendation'
\echo
-- The whole catalogue by its likeness to the recommendation, and of it what the package has.
SELECT package, left(shown.item_id, 24) AS recommended,
       left(string_agg(s.item_id, ', ' ORDER BY s.rank), 56) AS because_it_uses
FROM demo.shown
CROSS JOIN LATERAL (
  SELECT near.item_id, near.rank
  FROM demo.for_you_similar_items(shown.item_id, 100000) AS near
  JOIN demo.uses ON uses.package = shown.package AND uses.dependency = near.item_id
  ORDER BY near.rank
  LIMIT 3) AS s
WHERE shown.rank <= 2
GROUP BY number, package, shown.rank, shown.item_id
ORDER BY number, shown.rank;

\echo '== 6. Fast enough for a web request? Ten recommendations for one package'
\echo
SELECT package AS one FROM demo.known WHERE number = 1 \gset
\timing on
SELECT count(*) AS recommendations FROM demo.for_you_recommend(:'one');
SELECT count(*) AS recommendations FROM demo.for_you_recommend(:'one');
\timing off

\echo
\echo '== 7. Segments: the orders of CDNOW, a shop that sold CDs in 1997 and 1998'
\echo
CREATE TABLE demo.orders (customer_id int, bought_on date, cds int, amount numeric(8, 2));
\copy demo.orders from program 'docs/demo_data.sh orders' (format csv)
SELECT count(*) > 0 AS have_orders FROM demo.orders \gset
\if :have_orders
ANALYZE demo.orders;
SELECT count(*) AS orders, count(DISTINCT customer_id) AS customers, min(bought_on) AS first, max(bought_on) AS last,
       round(sum(amount)) AS dollars
FROM demo.orders;

\echo 'SELECT * FROM persona.train_rfm(''demo.tiers'', ''demo.orders'', ''customer_id'', ''bought_on'', ''amount'','
\echo '                                as_of => ''1998-01-01 00:00+00'')'
\echo '(customers by how lately, how often and for how much they bought, as it was known on that day)'
\timing on
SELECT version, rows_used, rows_skipped, deployed
FROM persona.train_rfm('demo.tiers', 'demo.orders', 'customer_id', 'bought_on', 'amount',
                       as_of => '1998-01-01 00:00+00');
\timing off

\echo
\echo '== 8. Who are they? Segments with their sizes and the means of their members'
\echo
SELECT s.segment_id AS id, s.label, s.members AS customers, round(100 * s.share::numeric) AS percent,
       round(max(p.mean) FILTER (WHERE p.feature = 'recency_days')) AS days_ago,
       round(max(p.mean::numeric) FILTER (WHERE p.feature = 'frequency'), 1) AS orders,
       round(max(p.mean) FILTER (WHERE p.feature = 'monetary')) AS dollars
FROM demo.tiers_segments AS s
JOIN demo.tiers_profile AS p USING (segment_id)
WHERE s.members > 0
GROUP BY s.segment_id
ORDER BY s.segment_id;

\echo '== 9. Half a year later: who moved where? Rows are segments on 1998-01-01, columns (by id) those of 1998-07-01'
\echo
\timing on
SELECT version, rows_used, rows_skipped, deployed
FROM persona.train_rfm('demo.tiers', 'demo.orders', 'customer_id', 'bought_on', 'amount',
                       as_of => '1998-07-01 00:00+00');
\timing off
\echo
SELECT lpad(f.segment_id::text, 2) || ' ' || f.label AS "from", h.segment_id AS "to", count(*) AS customers
FROM demo.tiers_history AS h
JOIN demo.tiers_segments AS f ON f.segment_id = coalesce(h.previous_segment_id, h.segment_id)
WHERE h.exited_at IS NULL
GROUP BY f.segment_id, f.label, h.segment_id
ORDER BY f.segment_id, h.segment_id
\crosstabview "from" "to" customers "to"

\echo
\echo '== 10. Without names given in advance: k-means on the same three numbers, as logarithms'
\echo
CREATE VIEW demo.customers AS
  SELECT customer_id, ln(1 + recency_days) AS log_days, ln(frequency) AS log_orders, ln(1 + monetary) AS log_dollars
  FROM demo.tiers_members
  WHERE segment_id IS NOT NULL;
\echo 'SELECT * FROM persona.train_kmeans(''demo.groups'', ''demo.customers'', ''customer_id'')'
\echo '(k is not given: it tries 2 to 10 and takes the greatest silhouette)'
\timing on
SELECT version, rows_used, metric, round(value::numeric, 2) AS value, deployed
FROM persona.train_kmeans('demo.groups', 'demo.customers', 'customer_id');
\timing off
\echo
SELECT k, round(s.value::numeric, 3) AS silhouette, round(i.value) AS inertia,
       CASE WHEN k = (SELECT count(*) FROM demo.groups_segments) THEN 'chosen' ELSE '' END AS "?"
FROM persona.metrics AS s
JOIN persona.metrics AS i USING (model, version, k)
WHERE model = 'demo.groups' AND s.metric = 'silhouette' AND i.metric = 'inertia'
ORDER BY k;

SELECT s.segment_id AS id, s.label, s.members AS customers, round(avg(m.recency_days)) AS days_ago,
       round(avg(m.frequency), 1) AS orders, round(avg(m.monetary)) AS dollars
FROM demo.groups_segments AS s
JOIN demo.groups_members USING (segment_id)
JOIN demo.tiers_members AS m USING (customer_id)
GROUP BY s.segment_id
ORDER BY s.segment_id;
\else
\echo '(nothing to segment)'
\echo
\endif

\echo '== Next'
\echo
\echo 'The cluster of make demo is thrown away. To keep one, in a database of your own:'
\echo
\echo '  make && sudo make install'
\echo '  createdb demo && psql -X -q -d demo -f docs/demo.sql'
\echo
\echo 'and then ask it, for example:'
\echo
\echo '  -- what goes together with SDL, a library for games?'
\echo '  SELECT * FROM demo.for_you_similar_items(''libsdl2-2.0-0'');'
\echo
\echo '  -- a package that does not exist yet, by what it will use'
\echo '  SELECT * FROM demo.for_you_recommend_for_items(''{libpq5,python3}'');'
\echo
\echo '  -- the best of one section only'
\echo '  SELECT * FROM demo.for_you_recommend(''gimp'', 5, candidates => ARRAY('
\echo '    SELECT name FROM demo.packages WHERE section = ''graphics''));'
\echo
\echo '  -- who was a loyal customer and is at risk now?'
\echo '  SELECT m.* FROM demo.tiers_members m JOIN demo.tiers_history h USING (customer_id)'
\echo '  JOIN demo.tiers_segments f ON f.segment_id = h.previous_segment_id'
\echo '  WHERE h.exited_at IS NULL AND f.label = ''Loyal Customers'' AND m.label = ''At Risk'';'
\echo
