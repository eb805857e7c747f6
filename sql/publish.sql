-- Functions for an API schema.

CREATE FUNCTION persona.publish(model text, schema name, security_definer bool DEFAULT false) RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'persona_publish';
COMMENT ON FUNCTION persona.publish(text, name, bool) IS
$$Makes the typed functions of a recommender, <model>_recommend, <model>_similar_items and <model>_recommend_for_items, in a schema that an API such as PostgREST serves: the same arguments and rows, one function of a name. They belong to the owner of the model, who must have CREATE on the schema, and go with persona.drop_model. Again is harmless: grants are kept.
security_definer false: callers need EXECUTE, which PUBLIC has (again, where the functions were published with true before), and SELECT on the model's view. true: callers need EXECUTE alone, which nobody has until the owner grants it; the functions run as the owner of the model, and answer for any user that they are asked about.
For the owner of the model (42501). 3F000 no such schema, 42501 no right to it, 42723 a name that is taken, 42809 a model of segments.$$;

CREATE FUNCTION persona.publish_own(
  model text, schema name, setting text DEFAULT 'request.jwt.claims', claim text DEFAULT 'sub') RETURNS void
  LANGUAGE c VOLATILE PARALLEL UNSAFE AS 'MODULE_PATHNAME', 'persona_publish_own';
COMMENT ON FUNCTION persona.publish_own(text, name, text, text) IS
$$Makes the function <model>_recommend_own(k) in a schema: recommendations for the user whom the session names, and for nobody else, because no argument says whose. Callers need EXECUTE alone, which nobody has until the owner grants it; it runs as the owner of the model, belongs to him, and goes with persona.drop_model.
setting: the setting of the session that names the user; claim: the key of it, where it is JSON as that of PostgREST; NULL = the setting itself is the id, as app.user_id, or session_authorization for the role that logged in. Popular items come where it is missing or empty, and for a user whom the model does not know; 22P02 where it is no id of the model, or no JSON.
A session that may run any SQL may set a setting of an application: for such roles name session_authorization.
For the owner of the model (42501). 3F000 no such schema, 42501 no right to it, 42704 no such setting, 22023 a claim, 42723 a name that is taken, 42809 a model of segments.$$;
