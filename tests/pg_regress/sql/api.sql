-- Every object of the extension: whoever changes the surface sees it change here.
SET search_path = pg_catalog;
\pset format unaligned
\pset tuples_only on
\pset fieldsep ' | '

\echo '== objects'
SELECT pg_describe_object(d.classid, d.objid, 0) AS object
FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
WHERE e.extname = 'pg_persona' AND d.deptype = 'e'
  -- Types that come with a relation or another type: members of their own since PostgreSQL 17.
  AND NOT EXISTS (SELECT FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
                  WHERE d.classid = 'pg_type'::regclass AND t.oid = d.objid AND (t.typcategory = 'A' OR c.relkind <> 'c'))
ORDER BY pg_describe_object(d.classid, d.objid, 0) COLLATE "C";

\echo '== functions'
SELECT p.oid::regprocedure AS function,
       E'\n    (' || pg_get_function_arguments(p.oid) || E')\n    ' || coalesce('returns ' || pg_get_function_result(p.oid), 'procedure')
         || E'\n    ' || l.lanname
         || CASE p.provolatile WHEN 'i' THEN ' immutable' WHEN 's' THEN ' stable' ELSE ' volatile' END
         || CASE WHEN p.proisstrict THEN ' strict' ELSE ' called on null' END
         || CASE p.proparallel WHEN 's' THEN ' parallel safe' WHEN 'r' THEN ' parallel restricted' ELSE ' parallel unsafe' END
         || CASE WHEN p.proretset THEN ' rows ' || p.prorows ELSE '' END
         || CASE WHEN p.prosecdef THEN ' security definer' ELSE '' END
         || coalesce(' set ' || array_to_string(p.proconfig, ', '), '')
         || CASE WHEN obj_description(p.oid, 'pg_proc') IS NULL THEN ', no comment' ELSE ', comment' END
         || CASE WHEN has_function_privilege('pg_monitor', p.oid, 'EXECUTE') THEN ', public' ELSE ', not public' END
FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
JOIN pg_extension e ON d.refobjid = e.oid AND e.extname = 'pg_persona'
ORDER BY p.oid::regprocedure::text COLLATE "C";

\echo '== composite types, tables and views'
SELECT CASE c.relkind WHEN 'c' THEN 'type ' WHEN 'r' THEN 'table ' ELSE 'view ' END || c.oid::regclass::text,
       E'\n    ' || string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
                                 || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END, E'\n    ' ORDER BY a.attnum)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relnamespace IN ('persona'::regnamespace, 'persona_internal'::regnamespace) AND c.relkind IN ('c', 'r', 'v')
GROUP BY c.oid, c.relkind
ORDER BY c.oid::regclass::text COLLATE "C";

\echo '== indexes'
SELECT pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class c ON c.oid = indrelid
WHERE c.relnamespace = 'persona_internal'::regnamespace
ORDER BY pg_get_indexdef(indexrelid) COLLATE "C";

\echo '== options of the views, rights on everything'
SELECT c.oid::regclass, c.reloptions, array_to_string(array(
         SELECT coalesce(nullif(a.grantee, 0)::regrole::text, 'public') || ':' || a.privilege_type
         FROM aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a WHERE a.grantee <> c.relowner ORDER BY 1), ' ')
FROM pg_class c
WHERE c.relnamespace IN ('persona'::regnamespace, 'persona_internal'::regnamespace) AND c.relkind IN ('r', 'v', 'S')
ORDER BY c.oid::regclass::text COLLATE "C";
SELECT n.nspname, array_to_string(array(
         SELECT coalesce(nullif(a.grantee, 0)::regrole::text, 'public') || ':' || a.privilege_type
         FROM aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a WHERE a.grantee <> n.nspowner ORDER BY 1), ' ')
FROM pg_namespace n WHERE n.nspname LIKE 'persona%' ORDER BY 1;

\echo '== settings'
SELECT FROM persona_internal.library_functions();  -- loads the library
SELECT name, setting, unit, min_val, max_val, context FROM pg_settings WHERE name LIKE 'persona.%' ORDER BY name COLLATE "C";
SET persona.unknown = 1;
SET persona.max_threads = 65;
\set VERBOSITY sqlstate
SET persona.max_memory = '100kB';  -- the message names units since PostgreSQL 17
\set VERBOSITY default

\echo '== marked for pg_dump'
SELECT c::regclass FROM pg_extension, unnest(extconfig) AS c WHERE extname = 'pg_persona' ORDER BY c::regclass::text COLLATE "C";
