-- Why an item is recommended.

CREATE FUNCTION persona.explain(model text, user_id anycompatible, item_id text, options jsonb DEFAULT '{}')
  RETURNS SETOF persona.explanation ROWS 10
  LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_explain';
COMMENT ON FUNCTION persona.explain(text, anycompatible, text, jsonb) IS
$$The user's items by what each adds to the score of an item: the largest contributions of either sign first, equal ones by id, without those that add nothing. No rows for a NULL or unknown user or item.
options: {"k": items at most, 0 and above, 10}.
Models of train_ease, in both forms, and train_item_knn: all contributions add up to persona.score. Models by train_als of implicit feedback: they add up to the score that recommend_for_items gives the item for the user's items, where values are taken as 1; persona.score differs from it by what the last iteration left open and by the values. Models of ratings: first a row of rank 0 without an item, the mean of all ratings and what user and item usually differ from it; with it all add up to the expected rating, from which persona.score differs by what the last iteration left open, and is confined to the range of the ratings.
Errors: 42704 no such model, 55000 not deployed, or a version of ratings by an earlier pg_persona, 42501 no right, 22P02 a text that cannot be an id, 42804 an id of another type, 22023 an option, 0A000 a model by train_bpr, train_sgd or train_popularity, whose scores are no sums over the user's items.
Source: Hu, Koren, Volinsky 2008, section 5.$$;
CREATE FUNCTION persona.explain(model text, user_id anycompatible, item_id anyelement, options jsonb DEFAULT '{}')
  RETURNS SETOF persona.explanation ROWS 10
  LANGUAGE c STABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'persona_explain_typed';
COMMENT ON FUNCTION persona.explain(text, anycompatible, anyelement, jsonb) IS 'The same with an item id of its own type.';
