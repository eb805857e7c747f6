-- Ranking metrics in SQL, by the definitions of metrics.py; check_metrics.py compares the two on made-up rankings.
SET client_min_messages = warning;

-- A data set, split; and rankings of it, made without the user's own training items.
CREATE TABLE split (data_set text, user_id int, item_id int, is_test bool);
CREATE TABLE ranked (run text, data_set text, user_id int, item_id int, rank int);

-- What there is to find: test items that training has seen. No model can rank the others, and the published figures
-- leave them out, with the users who have no other (602 of 603 remain in MovieLens).
CREATE VIEW relevant AS
  SELECT data_set, user_id, item_id
  FROM split AS test
  WHERE is_test
    AND EXISTS (SELECT FROM split AS train
                WHERE NOT is_test AND train.data_set = test.data_set AND train.item_id = test.item_id);

-- The first k count. A user without a ranking counts as 0, not as absent.
CREATE FUNCTION rank_metrics(run text, data_set text, k int DEFAULT 10,
                             OUT users bigint, OUT ndcg float8, OUT "precision" float8, OUT recall float8)
LANGUAGE sql STABLE AS $$
  WITH gain AS (
    SELECT rank, 1 / (ln(rank + 1) / ln(2)) AS gain, sum(1 / (ln(rank + 1) / ln(2))) OVER (ORDER BY rank) AS ideal
    FROM generate_series(1, k) AS rank
  ), hit AS (
    SELECT ranked.user_id, count(*) AS hits, sum(gain) AS dcg
    FROM ranked JOIN relevant USING (data_set, user_id, item_id) JOIN gain USING (rank)
    WHERE ranked.run = rank_metrics.run AND data_set = rank_metrics.data_set
    GROUP BY user_id
  ), wanted AS (
    SELECT user_id, count(*) AS items
    FROM relevant
    WHERE relevant.data_set = rank_metrics.data_set
    GROUP BY user_id
  )
  SELECT count(*), avg(coalesce(dcg, 0) / ideal), avg(coalesce(hits, 0)::float8 / k), avg(coalesce(hits, 0)::float8 / items)
  FROM wanted LEFT JOIN hit USING (user_id) JOIN gain ON gain.rank = least(k, items)
$$;

-- What was measured, and where it must lie.
CREATE TABLE figures (
  position int GENERATED ALWAYS AS IDENTITY, name text, value float8, at_least float8, at_most float8,
  ok bool GENERATED ALWAYS AS (coalesce(value >= coalesce(at_least, value) AND value <= coalesce(at_most, value), false)) STORED);
