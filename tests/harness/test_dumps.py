"""Models in dumps: what the owner of a database dumps, a restore serves again."""

from models import answers, beside, extension, interactions, live, same, scores, train

QUOTED = '"For Two"'


def shop(cluster):
    """A database of its owner `keeper`, no superuser, with models of hers and of alice, granted to a role `web`."""
    cluster.session().run("CREATE ROLE keeper LOGIN CREATEDB; CREATE ROLE alice LOGIN; CREATE ROLE web LOGIN;")
    cluster.session().run("CREATE DATABASE shop OWNER keeper TEMPLATE template0 ENCODING 'UTF8'")
    extension(cluster.session("shop"))
    cluster.session("shop").run(
        "GRANT USAGE ON SCHEMA persona TO PUBLIC; CREATE SCHEMA alice AUTHORIZATION alice; GRANT USAGE ON SCHEMA alice TO web"
    )
    keeper, alice = cluster.session("shop", "keeper"), cluster.session("shop", "alice")
    interactions(keeper)
    train(keeper, factors=8)
    train(keeper, factors=12)
    keeper.run("SELECT persona.rollback('for_you'); SELECT persona.grant_model('for_you', 'web')")
    train(keeper, QUOTED, factors=6)
    alice.run("SET search_path = alice")
    interactions(alice)
    train(alice, "hers", factors=4)
    # What any dump asks of the owner of a database: the right to read the tables in it.
    alice.run("GRANT USAGE ON SCHEMA alice TO keeper; GRANT SELECT ON events TO keeper")


def dump(cluster, *options):
    """The path of a dump of the database shop, made by its owner."""
    path = str(cluster.directory / f"dump{len(list(cluster.directory.glob('dump*')))}")
    cluster.command("pg_dump", "-h", cluster.host, "-U", "keeper", "-f", path, *options, "shop")
    return path


def restore(cluster, path, database="copy", options=(), create=True):
    """A session of the superuser in the database that the dump was restored into."""
    if create:
        cluster.session().run(f"CREATE DATABASE {database} OWNER keeper TEMPLATE template0 ENCODING 'UTF8'")
    cluster.command("pg_restore", *cluster.address(), "-e", "-d", database, *options, path)
    return cluster.session(database)


def listing(cluster, lines):
    """A file for pg_restore -L."""
    path = cluster.directory / "listing"
    path.write_text("\n".join(lines))
    path.chmod(0o644)
    return str(path)


def grants(session):
    """Owners and grants of the views and functions of models."""
    return session.run("""
        SELECT relname, relowner::regrole, relacl::text FROM pg_class
        WHERE relnamespace IN ('public'::regnamespace, 'alice'::regnamespace)
        UNION ALL
        SELECT proname, proowner::regrole, proacl::text FROM pg_proc
        WHERE pronamespace IN ('public'::regnamespace, 'alice'::regnamespace) ORDER BY 1, 2""")


def go_on(session, before):
    """Training makes the next version, and the deployment log continues where it stood."""
    assert live(session) == 1
    assert train(session, factors=16) == [("3", "t")]
    assert scores(session) != before
    assert session.value("SELECT persona.rollback('for_you')") == "1"
    assert scores(session) == before
    session.run("SELECT persona.deploy('for_you', 3)")
    assert live(session) == 3
    assert session.run("SELECT * FROM persona.check()") == []


def check_copy(cluster, copy, everything, granted):
    """All of the original is there, and works on."""
    same(answers(copy, "for_you", QUOTED, "alice.hers"), everything)
    assert grants(copy) == granted
    web = cluster.session(copy.value("SELECT current_database()"), "web")
    assert len(web.run("SELECT * FROM for_you_recommend(7)")) == 10
    assert web.error(f"SELECT * FROM {beside(QUOTED, '_recommend')}(7)").sqlstate == "42501"
    go_on(copy, scores(copy))


def check_format(cluster, *options):
    shop(cluster)
    source = cluster.session("shop")
    everything, granted = answers(source, "for_you", QUOTED, "alice.hers"), grants(source)
    path = dump(cluster, *options)
    if options == ("-Fp",):
        cluster.session().run("CREATE DATABASE copy OWNER keeper TEMPLATE template0 ENCODING 'UTF8'")
        cluster.command("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", *cluster.address(), "-d", "copy", "-f", path)
        copy = cluster.session("copy")
    else:
        copy = restore(cluster, path, options=options[1:])
    check_copy(cluster, copy, everything, granted)


def test_custom_dump_by_the_owner_of_the_database(cluster):
    """pg_dump -Fc by an owner without superuser rights carries models, versions, deployments, owners and grants."""
    check_format(cluster, "-Fc")


def test_plain_dump_by_the_owner_of_the_database(cluster):
    """The same as a script for psql."""
    check_format(cluster, "-Fp")


def test_parallel_dump_by_the_owner_of_the_database(cluster):
    """The same by two processes, out and in: no order among the tables of the registry is needed."""
    check_format(cluster, "-Fd", "-j2")


def test_published_functions(cluster):
    """What was published answers after a restore, is published again in place, and goes with its model."""
    shop(cluster)
    keeper = cluster.session("shop", "keeper")
    keeper.run("""CREATE SCHEMA api; CREATE SCHEMA secure; GRANT USAGE ON SCHEMA api, secure TO web;
                  SELECT persona.publish('for_you', 'api'); SELECT persona.publish('for_you', 'secure', true);
                  REVOKE SELECT ON for_you FROM web; GRANT EXECUTE ON FUNCTION secure.for_you_recommend TO web""")
    before = keeper.run("SELECT * FROM api.for_you_recommend(7)")
    assert len(before) == 10
    copy = restore(cluster, dump(cluster, "-Fc"))
    assert copy.run("SELECT * FROM api.for_you_recommend(7)") == before
    web = cluster.session("copy", "web")
    assert web.run("SELECT * FROM secure.for_you_recommend(7)") == before
    assert web.error("SELECT * FROM api.for_you_recommend(7)").sqlstate == "42501"
    assert web.error("SELECT * FROM secure.for_you_similar_items('item-03')").sqlstate == "42501"
    keeper = cluster.session("copy", "keeper")
    keeper.run("SELECT persona.publish('for_you', 'api'); SELECT persona.publish('for_you', 'secure', true)")
    assert web.run("SELECT * FROM secure.for_you_recommend(7)") == before
    assert keeper.run("SELECT * FROM persona.check()") == []
    keeper.run("SELECT persona.drop_model('for_you')")
    assert keeper.value("SELECT count(*) FROM pg_proc WHERE pronamespace IN ('api'::regnamespace, 'secure'::regnamespace)") == "0"


def test_dump_right_after_renames(cluster):
    """A dump binds by the names of its moment: no write of the library is needed between a rename and the dump."""
    shop(cluster)
    keeper = cluster.session("shop", "keeper")
    before = {name: scores(keeper, name) for name in ("for_you", QUOTED)}
    hers = scores(cluster.session("shop"), "alice.hers")
    # Two models swap their names, the third moves and is renamed; a foreign view takes the name it had.
    keeper.run(f"""
        ALTER VIEW for_you RENAME TO third; ALTER VIEW {QUOTED} RENAME TO for_you;
        ALTER VIEW third RENAME TO {QUOTED}""")
    cluster.session("shop").run("""
        CREATE SCHEMA moved; ALTER VIEW alice.hers SET SCHEMA moved; ALTER VIEW moved.hers RENAME TO theirs;
        CREATE VIEW alice.hers AS SELECT 1 AS one; GRANT USAGE ON SCHEMA moved TO keeper""")
    copy = restore(cluster, dump(cluster, "-Fc"))
    assert scores(copy) == before[QUOTED] and scores(copy, QUOTED) == before["for_you"]
    assert scores(copy, "moved.theirs") == hers
    assert copy.error("SELECT * FROM persona.recommend('alice.hers', 7)").sqlstate == "42704"
    # The functions keep their names and follow their model.
    assert copy.run("SELECT item_id, score FROM for_you_recommend(7, 3)") == before["for_you"]
    assert copy.run("SELECT item_id, score FROM alice.hers_recommend(7, 3)") == hers
    assert train(copy, QUOTED, factors=16) == [("3", "t")]
    assert copy.run("SELECT * FROM persona.check()") == []


def test_restore_into_the_same_database(cluster):
    """After DROP EXTENSION … CASCADE a dump brings the models back where they were."""
    shop(cluster)
    source = cluster.session("shop")
    everything, granted = answers(source, "for_you", QUOTED, "alice.hers"), grants(source)
    path = dump(cluster, "-Fc")
    source.run("DROP EXTENSION pg_persona CASCADE; DROP SCHEMA alice CASCADE; DROP TABLE events")
    # The schema public was there before the dump and still is.
    contents = cluster.command("pg_restore", "-l", path).splitlines()
    chosen = listing(cluster, (line for line in contents if "SCHEMA - public" not in line))
    copy = restore(cluster, path, "shop", ["-L", chosen], create=False)
    check_copy(cluster, copy, everything, granted)


def test_restore_without_one_view(cluster):
    """A model whose view is left out of a restore hurts no other; the owner of the database is told, and only she."""
    shop(cluster)
    hers = scores(cluster.session("shop"), "alice.hers")
    path = dump(cluster, "-Fc")
    contents = cluster.command("pg_restore", "-l", path).splitlines()
    chosen = listing(cluster, (line for line in contents if "for_you" not in line))
    copy = restore(cluster, path, options=["-L", chosen])
    assert scores(copy, "alice.hers") == hers
    assert copy.error("SELECT * FROM persona.recommend('for_you', 7)").sqlstate == "42704"
    keeper, alice = cluster.session("copy", "keeper"), cluster.session("copy", "alice")
    assert keeper.run("SELECT level, model, message FROM persona.check()") == [
        ("warning", "public.for_you", "its view is gone")
    ]
    assert alice.run("SELECT * FROM persona.check()") == []
    # The name is free, and a first training clears up, as the hint of check() says.
    assert train(keeper, factors=8) == [("1", "t")]
    assert keeper.run("SELECT * FROM persona.check()") == []


def test_dump_without_images(cluster):
    """Where the images were left out, serving says so (55000) and how to heal it; retrain heals."""
    shop(cluster)
    copy = restore(cluster, dump(cluster, "-Fc", "--exclude-table-data=persona_internal.chunk"))
    error = copy.error("SELECT * FROM persona.recommend('for_you', 7)")
    assert error.sqlstate == "55000" and "persona.retrain('for_you')" in error.text
    assert sorted(copy.run("SELECT level, model FROM persona.check()")) == sorted([
        ("error", f"public.{QUOTED}"), ("error", "alice.hers"), ("error", "public.for_you")
    ])  # fmt: skip
    assert copy.value("SELECT version FROM persona.retrain('for_you', '{\"deploy\": \"always\"}')") == "3"
    assert len(scores(copy)) == 3


def test_dump_without_registry(cluster):
    """Where the whole registry was left out: 55000 with the way to heal it, which works and keeps owner and grants."""
    shop(cluster)
    copy = restore(cluster, dump(cluster, "-Fc", "--exclude-table-data=persona_internal.*"))
    granted = grants(copy)
    error = copy.error("SELECT * FROM persona.recommend('for_you', 7)")
    assert error.sqlstate == "55000" and "HINT" in error.text
    assert ("error", "public.for_you") in copy.run("SELECT level, model FROM persona.check()")
    # Relation and columns are lost with the registry: they have to be given once more.
    assert train(copy, factors=8) == [("1", "t")]
    assert len(scores(cluster.session("copy", "web"))) == 3
    assert grants(copy) == granted


def test_a_dump_fails_for_nobody_else(cluster):
    """Only the owner of the database may read the registry for a dump: another role is refused, not given it."""
    shop(cluster)
    cluster.session("shop").run("REVOKE SELECT ON ALL TABLES IN SCHEMA public, alice FROM PUBLIC")
    for table in ("model", "chunk"):
        error = cluster.session("shop", "alice").error(f"COPY persona_internal.{table} TO STDOUT")
        assert error.sqlstate == "42501"


def test_schema_only_dump(cluster):
    """A dump of the schema alone: every model says 55000 with the way to heal it, which works; the tables are empty too."""
    shop(cluster)
    copy = restore(cluster, dump(cluster, "-Fc", "--schema-only"))
    granted = grants(copy)
    assert granted == grants(cluster.session("shop"))
    for name in ("for_you", QUOTED, "alice.hers"):
        error = copy.error(f"SELECT * FROM persona.recommend('{name}', 7)")
        assert error.sqlstate == "55000" and "persona.train_als()" in error.text
    copy.run("DROP TABLE events")
    interactions(copy)
    copy.run("ALTER TABLE events OWNER TO keeper")
    keeper = cluster.session("copy", "keeper")
    assert train(keeper, factors=8) == [("1", "t")]
    assert scores(keeper) == scores(cluster.session("copy", "web"))
    assert grants(copy) == granted


def test_dump_in_sections(cluster):
    """Restored section by section, as large databases are: all of the original is there."""
    shop(cluster)
    source = cluster.session("shop")
    everything, granted = answers(source, "for_you", QUOTED, "alice.hers"), grants(source)
    path = dump(cluster, "-Fc")
    cluster.session().run("CREATE DATABASE copy OWNER keeper TEMPLATE template0 ENCODING 'UTF8'")
    for section in ("pre-data", "data", "post-data"):
        copy = restore(cluster, path, options=[f"--section={section}"], create=False)
    check_copy(cluster, copy, everything, granted)


def test_dump_of_one_schema(cluster):
    """A dump of the schema that a model stands in brings the view and its functions, not the model: 55000, and a training heals."""
    shop(cluster)
    path = dump(cluster, "-Fc", "-n", "alice")
    cluster.session().run("CREATE DATABASE copy OWNER keeper TEMPLATE template0 ENCODING 'UTF8'")
    copy = cluster.session("copy")
    # Such a dump has no extension in it: whoever restores it makes it before.
    copy.run("CREATE EXTENSION pg_persona; GRANT USAGE ON SCHEMA persona TO PUBLIC")
    restore(cluster, path, create=False)
    error = copy.error("SELECT * FROM persona.recommend('alice.hers', 7)")
    assert error.sqlstate == "55000" and "HINT" in error.text and "persona.train_als()" in error.text
    assert copy.error("SELECT * FROM alice.hers_recommend(7)").sqlstate == "55000"
    assert copy.run("SELECT level, model FROM persona.check()") == [("error", "alice.hers")]
    alice = cluster.session("copy", "alice")
    alice.run("SET search_path = alice")
    assert train(alice, "hers", factors=4) == [("1", "t")]
    assert scores(alice, "hers") == scores(cluster.session("shop"), "alice.hers")
    assert copy.run("SELECT * FROM persona.check()") == []
