"""Names that break what is put together carelessly: of columns, relations, schemas, models and roles."""

from models import extension

# The canary is a table that some of them would drop.
NAMES = (
    "Upper Case", 'quo"te', "apos'trophe", "back\\slash", "semi;colon", "per%cent %I %s %1$s $1", "select", "1digit", " blank  ", "new\nline", "tab\t",
    "ünïcöde", "שלום\u202e", "𝔘𝔫𝔦", "x" * 40, "é" * 20, "a.b.c", "$$", "--", "/*", "*", "{}", "[1]", "\\'", "item_id", "score", "rank", "source", "user_id",
    "k", "exclude", "candidates", "items", "model", "public", "PUBLIC", "pg_temp", '"; DROP TABLE canary; --', "'; DROP TABLE canary; --", "}'; DROP TABLE canary; --",
)  # fmt: skip


def ident(name):
    """An identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def lit(text):
    """A literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def start(cluster):
    session = cluster.session()
    extension(session)
    session.run("CREATE TABLE canary (a int); CREATE ROLE reader; GRANT USAGE ON SCHEMA persona TO PUBLIC")
    return session


def fill(session, table, user, item, users):
    """A table of interactions in which user u has the items of its own parity, with other columns around them."""
    session.run(f"""
        CREATE TABLE {table} (before int, {user} int, between text, {item} text);
        INSERT INTO {table} SELECT 0, u, 'no', 'i' || i FROM generate_series(1, {users}) u, generate_series(1, 8) i WHERE (u + i) % 2 = 0""")


def rows(session, call):
    return int(session.value(f"SELECT rows_used FROM {call}"))


def test_columns(cluster):
    """The columns that are named are read, also where one is called like a result column, an argument or the other one's role."""
    session = start(cluster)
    for number, name in enumerate((*NAMES, "n" * 63, "ж" * 31)):
        other = f"{name[:20]}_2"
        fill(session, f"t{number}", ident(name), ident(other), 10)
        columns = f"{lit(name)}, {lit(other)}"
        assert rows(session, f"persona.train_als('m', 't{number}', {columns}, factors => 2, iterations => 1, holdout => 'none')") == 40, name
        # The other way round: the texts are the users now.
        assert rows(session, f"persona.train_als('n', 't{number}', {lit(other)}, {lit(name)}, factors => 2, iterations => 1, holdout => 'none')") == 40
        assert session.run("SELECT id FROM persona.user_factors('n') LIMIT 1") == [("i1",)], name
        assert rows(session, "persona.retrain('m')") == 40, name
        assert {item for (item,) in session.run("SELECT item_id FROM m_recommend(1)")} == {"i2", "i4", "i6", "i8"}, name
        session.run(f"SELECT persona.alter_model('m', column_map => jsonb_build_object('user_column', {lit(name)}, 'item_column', {lit(other)}))")
        # A name that is not there is refused, and what it says is one error, not two statements.
        error = session.error(f"SELECT persona.train_als('m', 't{number}', {lit(name[:40] + '?')}, {lit(other)})")
        assert error.sqlstate == "42703", (name, error)
        session.run(f"ALTER TABLE t{number} RENAME COLUMN {ident(name)} TO {ident('moved')}")
        assert session.error("SELECT persona.retrain('m')").sqlstate == "42703", name
        assert session.value("SELECT count(*) FROM persona.check() WHERE model = 'public.m' AND message LIKE 'column %'") == "1", name
        session.run("SELECT persona.drop_model('m'), persona.drop_model('n')")
    assert session.value("SELECT count(*) FROM canary") == "0"


def test_relations_and_schemas(cluster):
    """The relation that is named is read, and found again by its name, beside one that is called alike."""
    session = start(cluster)
    for name in NAMES:
        schema = f"s{name}"  # some names, such as pg_temp, are no schemas
        relation = f"{ident(schema)}.{ident(name)}"
        session.run(f"CREATE SCHEMA {ident(schema)}")
        fill(session, relation, "u", "i", 10)
        fill(session, f"public.{ident(name + ' ')}", "u", "i", 3)
        assert rows(session, f"persona.train_als('m', {lit(relation)}, 'u', 'i', factors => 2, iterations => 1)") == 40, name
        assert session.run("SELECT * FROM persona.check()") == [], name
        assert rows(session, "persona.retrain('m')") == 40, name
        # By the path, where the schema is not named.
        session.run(f"SET search_path = {ident(schema)}, public")
        session.run(f"SELECT persona.alter_model('public.m', {lit(ident(name))})")
        session.run("RESET search_path")
        assert rows(session, "persona.retrain('m')") == 40, name
        session.run(f"SELECT persona.alter_model('m', {lit('public.' + ident(name + ' '))})")
        assert rows(session, "persona.retrain('m')") == 12, name
        session.run(f"DROP TABLE public.{ident(name + ' ')}")
        assert session.error("SELECT persona.retrain('m')").sqlstate == "42P01", name
        session.run(f"SELECT persona.drop_model('m'); DROP SCHEMA {ident(schema)} CASCADE")
    assert session.value("SELECT count(*) FROM canary") == "0"


def test_models_and_roles(cluster):
    """A model and a role of any name live a whole life: all statements that are generated parse, also those of check()."""
    session = start(cluster)
    session.run("CREATE SCHEMA \"The Sch\"\"ema\"")
    fill(session, "t", "u", "i", 10)
    for number, name in enumerate(NAMES):
        role = f"r{name}"  # public, none and pg_… are reserved
        schema = '"The Sch""ema"' if number % 2 else "public"
        model = f"{schema}.{ident(name)}"
        text = lit(model)
        session.run(f"CREATE ROLE {ident(role)} LOGIN; GRANT ALL ON SCHEMA {schema} TO {ident(role)}; GRANT SELECT ON t TO {ident(role)}")
        assert rows(session, f"persona.train_als({text}, 't', 'u', 'i', factors => 2, iterations => 1)") == 40, name
        # What the catalog calls it is what the functions take.
        shown = session.value("SELECT model FROM persona.models")
        assert session.value(f"SELECT to_regclass({lit(shown)}) = {text}::regclass") == "t", name
        beside = f"{schema}.{ident(name + '_recommend')}"
        found = session.run(f"SELECT item_id FROM {beside}(1)")
        assert found and found == session.run(f"SELECT item_id FROM persona.recommend({text}, 1)"), name
        assert found == session.run(f"SELECT item_id FROM persona.recommend({lit(shown)}, 1)"), name
        session.run(f"SELECT persona.grant_model({text}, {lit(role)})")
        session.run(f"SET ROLE {ident(role)}")
        assert session.run(f"SELECT item_id FROM {beside}(1)") == found, name
        session.run("RESET ROLE")
        session.run(f"SELECT persona.revoke_model({text}, {lit(role)})")
        assert session.value(f"SELECT has_table_privilege({lit(role)}, {text}, 'SELECT')") == "f", name
        # Handed over by the statements that check() gives; the new owner trains, and so does the superuser for her.
        session.run(f"ALTER VIEW {model} OWNER TO {ident(role)}")
        hints = session.run("SELECT hint FROM persona.check()")
        assert len(hints) == 3, (name, hints)
        for (hint,) in hints:
            session.run(hint)
        assert session.run("SELECT * FROM persona.check()") == [], name
        assert rows(session, f"persona.retrain({text})") == 40, name
        assert session.value(f"SELECT trained_by = {lit(role)} FROM persona.versions ORDER BY version DESC LIMIT 1") == "t", name
        # Statements in HINTs and those of check() bring it back to life.
        session.run("DELETE FROM persona_internal.deployment")
        error = session.error(f"SELECT * FROM persona.recommend({text}, 1)")
        assert error.sqlstate == "55000", error
        session.run(error.text.split("HINT:  Run ")[1].split("; or SELECT")[0])
        session.run("DELETE FROM persona_internal.deployment")
        ((hint,),) = session.run("SELECT hint FROM persona.check()")
        session.run(hint)
        assert session.run(f"SELECT item_id FROM {beside}(1)"), name
        session.run(f"ALTER VIEW {model} RENAME TO m; SELECT persona.drop_model({lit(schema + '.m')}); DROP OWNED BY {ident(role)}")
        session.run(f"DROP ROLE {ident(role)}")
    assert session.value("SELECT count(*) FROM canary") == "0"
    assert session.value("SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace") == "0"


def test_a_role_called_public(cluster):
    """The word means everybody unless a role has that name."""
    session = start(cluster)
    fill(session, "t", "u", "i", 10)
    session.run("SELECT persona.train_als('m', 't', 'u', 'i', factors => 2); CREATE ROLE \"Public\"")
    may = "SELECT has_table_privilege({}, 'm', 'SELECT')"
    session.run("SELECT persona.grant_model('m', 'Public')")
    assert [session.value(may.format(role)) for role in ("'Public'", "'reader'")] == ["t", "f"]
    session.run("SELECT persona.grant_model('m', 'PUBLIC')")
    assert session.value(may.format("'reader'")) == "t"
    session.run("SELECT persona.revoke_model('m', 'public')")
    assert session.value(may.format("'reader'")) == "f"


def test_names_that_are_cut(cluster):
    """SQL cuts identifiers at 63 bytes, in the middle of no character; so does every name that is given here."""
    session = start(cluster)
    for long in ("x" * 70, "é" * 40):
        cut = session.value(f"SELECT {lit(long)}::name")
        session.run(f"CREATE SCHEMA {ident(cut)}")
        fill(session, f"{ident(cut)}.{ident(cut)}", ident(cut), "i", 10)
        relation = lit(f"{ident(long)}.{ident(long)}")
        assert rows(session, f"persona.train_als({lit(ident(long) + '.m')}, {relation}, {lit(long)}, 'i', factors => 2)") == 40
        assert rows(session, f"persona.retrain({lit(ident(cut) + '.m')})") == 40
        assert session.run(f"SELECT item_id FROM {ident(long)}.m_recommend(1)") == session.run(
            f"SELECT item_id FROM persona.recommend({lit(ident(long) + '.m')}, 1)")  # fmt: skip
        # Two names of a model that differ behind the 63rd byte are one name, and too long for a model.
        for tail in ("a", "b"):
            assert session.error(f"SELECT persona.train_als({lit(long + tail)}, {relation}, {lit(long)}, 'i')").sqlstate == "42602"


# Settings of a session that change how SQL is read, written or run.
SETTINGS = (
    "standard_conforming_strings = off", "backslash_quote = off", "quote_all_identifiers = on", "extra_float_digits = -15", "DateStyle = 'SQL, DMY'",
    "bytea_output = escape", "transform_null_equals = on", "array_nulls = off", "check_function_bodies = off", "search_path = ''", "client_encoding = LATIN1",
    "client_min_messages = debug1", "default_transaction_isolation = serializable", "row_security = off", "plan_cache_mode = force_generic_plan",
    "enable_indexscan = off", "enable_indexonlyscan = off", "enable_bitmapscan = off", "default_transaction_deferrable = on", "TimeZone = 'Asia/Kathmandu'",
    "work_mem = '64kB'", "max_stack_depth = '100kB'", "constraint_exclusion = on", "jit_above_cost = 0", "lc_messages = 'C'",
)  # fmt: skip


def test_settings_of_the_session(cluster):
    """No setting that a session may change makes a statement of the library fail or mean something else."""
    root = start(cluster)
    fill(root, "t", "u", "i", 10)
    name = 'It\'s a "Back\\slash'
    model = f"public.{ident(name)}"
    # Written so that it means the same whatever standard_conforming_strings says.
    text = "E'" + model.replace("\\", "\\\\").replace("'", "\\047") + "'"
    expected = None
    for setting in ("work_mem = '4MB'", *SETTINGS):
        session = cluster.session()
        session.run(f"SET {setting}")
        session.run(f"SELECT persona.train_als({text}, 'public.t', 'u', 'i', factors => 2, iterations => 2)")
        session.run(f"SELECT persona.retrain({text}, '{{\"deploy\": \"always\"}}'), persona.rollback({text}), persona.deploy({text}, 2)")
        session.run(f"SELECT persona.alter_model({text}, column_map => '{{\"user_column\": \"u\"}}'), persona.evaluate({text}, k => 7)")
        session.run(f"SELECT persona.grant_model({text}, 'reader'), persona.revoke_model({text}, 'reader')")
        # What a restore without the rows of the registry leaves is taken up again, whatever its name.
        root.run("DELETE FROM persona_internal.model")
        session.run(f"SELECT persona.train_als({text}, 'public.t', 'u', 'i', factors => 2, iterations => 2)")
        assert session.run("SELECT * FROM persona.check()") == [], setting
        found = [item for (item,) in session.run(f"SELECT item_id FROM persona.recommend({text}, 1)")]
        assert found == [item for (item,) in session.run(f"SELECT item_id FROM public.{ident(name + '_recommend')}(1)")], setting
        assert found == (expected := expected or found), setting
        session.run(f"SELECT persona.drop_model({text})")
        session.close()
    assert root.value("SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace") == "0"


def test_columns_and_models_of_segments(cluster):
    """Ids, features, times, amounts, relations and models of any name; texts of any contents as ids; labels too."""
    session = start(cluster)
    taken = {"segment_id", "label"}
    # Also those that the statements of the library use themselves.
    own = ("f1", "id", "p", "m", "n", "h", "new", "gone", "changed", "t", "at", "amount", "excluded")
    for name in (*NAMES, "n" * 63, "ж" * 31, *taken, *own):
        a, b = ident(f"{name[:20]}_2"), ident(f"{name[:20]}_3")
        table = ident(f"t {name}"[:40])
        session.run(f"CREATE TABLE {table} ({ident(name)} text PRIMARY KEY, {a} timestamptz, {b} int, {ident('plain')} float8)")
        session.run(f"INSERT INTO {table} SELECT n, '2024-01-01', 1, length(n) FROM unnest(ARRAY[{', '.join(map(lit, NAMES))}]) n")
        features = f"ARRAY[{lit(f'{name[:20]}_3')}, 'plain']::name[]"
        call = f"persona.train_kmeans('m', {lit(table)}, {lit(name)}, {features}, k => 2, n_init => 1)"
        if name in taken:
            assert session.error(f"SELECT {call}").sqlstate == "42701", name
            session.run(f"DROP TABLE {table}")
            continue
        assert rows(session, call) == len(NAMES), name
        session.run(f"UPDATE {table} SET plain = -plain; SELECT persona.label_segment('m', 1, {lit(name)})")
        assert rows(session, "persona.retrain('m')") == len(NAMES), name
        joined = f"SELECT count(*) FROM {table} s JOIN m_members m USING ({ident(name)}) WHERE m.segment_id = persona.assign_row('m', to_jsonb(s))"
        assert session.value(joined) == str(len(NAMES)), name
        assert session.value("SELECT count(*) FROM m_segments WHERE label = " + lit(name)) == "1", name
        assert session.value("SELECT count(DISTINCT feature) FROM m_profile") == "2"
        session.run("SELECT persona.drop_model('m')")
        call = f"persona.train_rfm('m', {lit(table)}, {lit(name)}, {lit(f'{name[:20]}_2')}, {lit(f'{name[:20]}_3')}, 'plain')"
        assert rows(session, call) == len(NAMES), name
        assert rows(session, "persona.retrain('m')") == len(NAMES), name
        assert session.value("SELECT persona.rollback('m')") == "1", name
        session.run("SELECT persona.drop_model('m')")
        session.run(f"DROP TABLE {table}")
    # Names of models and their schemas.
    session.run("CREATE TABLE t AS SELECT 'i' || g AS id, g % 2 AS x FROM generate_series(1, 10) g")
    for name in NAMES:
        if len(name.encode()) > 40 or name == "pg_temp":
            continue
        schema = "s " + name
        session.run(f"CREATE SCHEMA {ident(schema)}")
        model = f"{ident(schema)}.{ident(name)}"
        assert rows(session, f"persona.train_kmeans({lit(model)}, 't', 'id', k => 2)") == 10, name
        assert rows(session, f"persona.retrain({lit(model)})") == 10, name
        session.run(f"SELECT persona.grant_model({lit(model)}, 'reader'), persona.rollback({lit(model)})")
        members = f"{ident(schema)}.{ident(name + '_members')}"
        assert session.value(f"SELECT count(*) FROM {members}") == "10", name
        assert session.value(f"SELECT has_table_privilege('reader', {lit(members)}, 'SELECT')") == "t", name
        session.run(f"SELECT persona.drop_model({lit(model)})")
    assert session.value("SELECT count(*) FROM pg_class WHERE relname LIKE '%members' AND relnamespace <> 'pg_catalog'::regnamespace") == "0"
    assert session.value("SELECT count(*) FROM canary") == "0"
