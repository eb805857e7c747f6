-- Equal under the collation must mean equal bytes: ids need a deterministic one.
SELECT NOT EXISTS (SELECT FROM pg_collation WHERE collname = 'de-x-icu') AS no_icu \gset
\if :no_icu
\quit
\endif
SET client_min_messages = warning;
CREATE SCHEMA collations;
SET search_path = collations;
CREATE COLLATION careless (provider = icu, locale = 'und', deterministic = false);
CREATE COLLATION german (provider = icu, locale = 'de');
CREATE DOMAIN careless_text AS text COLLATE careless;
CREATE TABLE likes (user_id text COLLATE careless, item_id text COLLATE german, other careless_text);
INSERT INTO likes VALUES ('a', 'ä', 'x'), ('A', 'z', 'x'), ('a', 'z', 'x'), ('b', 'ä', 'x');
SELECT (persona.train_als('m', 'likes', 'user_id', 'item_id')).version;
SELECT (persona.train_als('m', 'likes', 'other', 'item_id')).version;
SELECT (persona.train_als('m', 'likes', 'item_id', 'user_id')).version;
-- What the HINT says.
CREATE VIEW exact AS SELECT user_id COLLATE "C" AS user_id, item_id FROM likes;
SELECT (persona.train_als('m', 'exact', 'user_id', 'item_id', factors => 2, holdout => 'none')).version;
-- Three users; ids by bytes: 'A' before 'a' before 'b', 'z' before 'ä', whatever the collation says.
SELECT id FROM persona.user_factors('m');
SELECT id FROM persona.item_factors('m');
-- z and ä have two users each: the tie is broken by bytes.
SELECT item_id, score, rank, source FROM m_recommend(NULL);
SELECT persona.drop_model('m');
DROP SCHEMA collations CASCADE;
