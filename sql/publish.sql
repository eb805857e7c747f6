-- Functions for an API schema.

CREATE FUNCTION persona.publish(model text, schema name, security_definer bool DEFAULT false) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'persona_publish';
COMMENT ON FUNCTION persona.publish(text, name, bool) IS
$$Makes the typed functions of a recommender, <model>_recommend, <model>_similar_items and <model>_recommend_for_items, in a schema that an API such as PostgREST serves: the same arguments and rows, one function of a name. They belong to the owner of the model, who must have CREATE on the schema, and go with persona.drop_model. Again is harmless: grants are kept.
security_definer false: callers need EXECUTE, which PUBLIC has, and SELECT on the model's view. true: callers need EXECUTE alone, which nobody has until the owner grants it; the functions run as the owner of the model.
For the owner of the model (42501). 3F000 no such schema, 42501 no right to it, 42723 a name that is taken, 42809 a model of segments.$$;
