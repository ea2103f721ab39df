#include "db/migrator/catalog_queries.h"

namespace parley::db {

// With nothing in the search path all names come out qualified.
const absl::string_view kCatalogSettingsSql = R"(
SET LOCAL search_path = '';
SET LOCAL quote_all_identifiers = off;
SET LOCAL standard_conforming_strings = on;
SET LOCAL extra_float_digits = 3;
SET LOCAL timezone = 'UTC';
SET LOCAL datestyle = 'ISO';
SET LOCAL intervalstyle = 'postgres';
SET LOCAL bytea_output = 'hex';
SET LOCAL statement_timeout = 0;
SET LOCAL lock_timeout = '30s';
)";

// rel.is_day: of what hangs on a partition of one day, only that is told which the whole table does
// not have.
const absl::string_view kCatalogScopeSql = R"(
WITH member AS MATERIALIZED (
  SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
), space AS MATERIALIZED (
  SELECT n.oid, n.nspname, n.nspacl, n.nspowner, format('%I', n.nspname) AS name,
         format('schema %I', n.nspname) AS object
  FROM pg_namespace AS n
  WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'original')
    AND NOT EXISTS (SELECT FROM member AS m WHERE m.classid = 'pg_namespace'::regclass AND m.objid = n.oid)
), history AS (
  SELECT c.oid FROM pg_class AS c JOIN space AS s ON s.oid = c.relnamespace
  WHERE s.nspname = 'public'
    AND c.relname IN ('schema_migrations', 'schema_migration_log', 'goose_db_version')
), day AS (
  SELECT c.oid
  FROM pg_class AS c
  JOIN pg_inherits AS i ON i.inhrelid = c.oid
  JOIN pg_class AS whole ON whole.oid = i.inhparent
  CROSS JOIN regexp_match(pg_get_expr(c.relpartbound, c.oid),
    '^FOR VALUES FROM \(''([0-9-]+) 00:00:00\+00''\) TO \(''([0-9-]+) 00:00:00\+00''\)$') AS bound
  WHERE c.relispartition AND c.relkind = 'r'
    AND bound[2]::date = bound[1]::date + 1
    AND c.relname = whole.relname || '_' || replace(bound[1], '-', '')
), rel AS MATERIALIZED (
  SELECT c.*, s.object AS space_object, format('%s.%I', s.name, c.relname) AS name,
         CASE c.relkind WHEN 'v' THEN 'view ' WHEN 'm' THEN 'materialized view ' WHEN 'S' THEN 'sequence '
                        WHEN 'f' THEN 'foreign table ' WHEN 'c' THEN 'type ' ELSE 'table ' END
           || format('%s.%I', s.name, c.relname) AS object,
         c.oid IN (SELECT oid FROM day) AS is_day
  FROM pg_class AS c
  JOIN space AS s ON s.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S', 'c')
    AND c.oid NOT IN (SELECT oid FROM history)
    AND NOT EXISTS (SELECT FROM member AS m WHERE m.classid = 'pg_class'::regclass AND m.objid = c.oid)
    AND NOT EXISTS (SELECT FROM pg_depend AS d JOIN history ON history.oid = d.refobjid
                    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                      AND d.deptype IN ('a', 'i'))
), typ AS MATERIALIZED (
  SELECT t.*, s.object AS space_object, format('%s.%I', s.name, t.typname) AS name,
         CASE t.typtype WHEN 'd' THEN 'domain ' ELSE 'type ' END
           || format('%s.%I', s.name, t.typname) AS object
  FROM pg_type AS t
  JOIN space AS s ON s.oid = t.typnamespace
  WHERE (t.typtype IN ('e', 'd', 'r') OR t.typtype = 'b' AND t.typelem = 0
         OR t.typtype = 'c' AND t.typrelid IN (SELECT oid FROM rel WHERE relkind = 'c'))
    AND NOT EXISTS (SELECT FROM member AS m WHERE m.classid = 'pg_type'::regclass AND m.objid = t.oid)
), fun AS MATERIALIZED (
  SELECT p.*, s.object AS space_object,
         CASE p.prokind WHEN 'p' THEN 'procedure ' WHEN 'a' THEN 'aggregate ' ELSE 'function ' END
           || p.oid::regprocedure::text AS object
  FROM pg_proc AS p
  JOIN space AS s ON s.oid = p.pronamespace
  WHERE NOT EXISTS (SELECT FROM member AS m WHERE m.classid = 'pg_proc'::regclass AND m.objid = p.oid)
    -- A range type's constructors come and go with it.
    AND NOT EXISTS (SELECT FROM pg_depend AS d
                    WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'i')
)
)";

const absl::string_view kLeftOutQuery = R"(
SELECT oid::regclass::text
FROM (SELECT oid FROM history
      UNION ALL
      SELECT oid FROM day
      UNION ALL
      SELECT c.oid
      FROM history
      JOIN pg_depend AS d ON d.refobjid = history.oid AND d.classid = 'pg_class'::regclass
      JOIN pg_class AS c ON c.oid = d.objid AND c.relkind = 'S') AS x
ORDER BY 1)";

namespace {

constexpr absl::string_view kQueries[] = {
    // Extensions and schemas.
    R"(
SELECT format('extension %I', e.extname), '', format('in schema %I', n.nspname)
FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace
UNION ALL
SELECT object, '', '' FROM space)",

    // Tables and foreign tables.
    R"(
SELECT object, space_object,
       concat_ws(', ',
         CASE relpersistence WHEN 'u' THEN 'unlogged' ELSE 'logged' END,
         'partitioned by ' || pg_get_partkeydef(oid),
         (SELECT string_agg(CASE WHEN relispartition THEN 'partition of ' ELSE 'inherits ' END
                              || inhparent::regclass::text, ', ' ORDER BY inhseqno)
          FROM pg_inherits WHERE inhrelid = rel.oid),
         pg_get_expr(relpartbound, oid),
         'of type ' || format_type(nullif(reloftype, 0), NULL),
         (SELECT 'using ' || amname FROM pg_am WHERE pg_am.oid = relam AND amname <> 'heap'),
         (SELECT format('server %I, options %s', s.srvname, f.ftoptions)
          FROM pg_foreign_table AS f JOIN pg_foreign_server AS s ON s.oid = f.ftserver
          WHERE f.ftrelid = rel.oid))
FROM rel
WHERE relkind IN ('r', 'p', 'f') AND NOT is_day)",

    // Views.
    R"(
SELECT object, space_object, pg_get_viewdef(oid) FROM rel WHERE relkind IN ('v', 'm'))",

    // Settings of tables and views.
    R"(
SELECT format('setting %s of %s', option, object), object, value
FROM (
  SELECT object, split_part(o, '=', 1) AS option, substr(o, strpos(o, '=') + 1) AS value
  FROM rel CROSS JOIN unnest(reloptions) AS o
  WHERE NOT is_day
  UNION ALL
  SELECT object, 'toast.' || split_part(o, '=', 1), substr(o, strpos(o, '=') + 1)
  FROM rel JOIN pg_class AS toast ON toast.oid = rel.reltoastrelid
  CROSS JOIN unnest(toast.reloptions) AS o
  WHERE NOT is_day
  UNION ALL
  SELECT object, 'row security', CASE WHEN relforcerowsecurity THEN 'forced' ELSE 'enabled' END
         || CASE WHEN relrowsecurity THEN '' ELSE ', but disabled' END
  FROM rel
  WHERE relrowsecurity OR relforcerowsecurity
  UNION ALL
  SELECT object, 'replica identity',
         CASE relreplident WHEN 'n' THEN 'nothing' WHEN 'f' THEN 'full'
           ELSE (SELECT 'index ' || indexrelid::regclass::text FROM pg_index
                 WHERE indrelid = rel.oid AND indisreplident) END
  FROM rel
  WHERE relkind IN ('r', 'p') AND relreplident <> 'd' AND NOT is_day
) AS settings)",

    // Columns, and those of composite types. Collation, storage and compression where they are not
    // the type's own.
    R"(
SELECT format('column %s.%I', rel.name, a.attname), rel.object,
       concat_ws(' ', format_type(a.atttypid, a.atttypmod),
         (SELECT format('COLLATE %I.%I', n.nspname, c.collname)
          FROM pg_collation AS c JOIN pg_namespace AS n ON n.oid = c.collnamespace
          WHERE c.oid = a.attcollation AND a.attcollation <> t.typcollation),
         CASE WHEN a.attnotnull THEN 'NOT NULL' END,
         CASE a.attidentity WHEN 'a' THEN 'GENERATED ALWAYS AS IDENTITY'
                            WHEN 'd' THEN 'GENERATED BY DEFAULT AS IDENTITY' END,
         CASE a.attgenerated WHEN '' THEN 'DEFAULT ' || pg_get_expr(d.adbin, d.adrelid)
           ELSE format('GENERATED ALWAYS AS (%s) %s', pg_get_expr(d.adbin, d.adrelid),
                       CASE a.attgenerated WHEN 's' THEN 'STORED' ELSE 'VIRTUAL' END) END,
         CASE WHEN a.attstorage <> t.typstorage AND rel.relkind <> 'c' THEN 'STORAGE '
           || CASE a.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL' WHEN 'x' THEN 'EXTENDED'
                                ELSE 'MAIN' END END,
         'COMPRESSION ' || CASE a.attcompression WHEN 'p' THEN 'pglz' WHEN 'l' THEN 'lz4' END,
         'STATISTICS ' || nullif(a.attstattarget, -1),
         'OPTIONS ' || a.attoptions::text)
FROM rel
JOIN pg_attribute AS a ON a.attrelid = rel.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type AS t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE rel.relkind IN ('r', 'p', 'f', 'c') AND NOT rel.is_day)",

    // The order of columns, a name a line (CompareCatalogs knows of it).
    R"(
SELECT 'order of columns of ' || rel.object, rel.object,
       string_agg(format('%I', a.attname), E'\n' ORDER BY a.attnum)
FROM rel
JOIN pg_attribute AS a ON a.attrelid = rel.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE rel.relkind IN ('r', 'p', 'f', 'c') AND NOT rel.is_day
GROUP BY rel.object)",

    // Constraints of tables and domains. NOT NULL is the column's, whether it has a name of its own
    // (from PostgreSQL 18 on) or not. Foreign keys whose triggers are disabled are none.
    R"(
SELECT format('constraint %s.%I', coalesce(rel.name, typ.name), k.conname),
       coalesce(rel.object, typ.object),
       pg_get_constraintdef(k.oid)
         || CASE WHEN EXISTS (SELECT FROM pg_trigger AS g WHERE g.tgconstraint = k.oid AND g.tgenabled = 'D')
              THEN ' (its triggers are disabled)' ELSE '' END
FROM pg_constraint AS k
LEFT JOIN rel ON rel.oid = k.conrelid
LEFT JOIN typ ON typ.oid = k.contypid
WHERE k.contype NOT IN ('t', 'n') AND (rel.oid IS NOT NULL OR typ.oid IS NOT NULL)
  AND NOT (rel.is_day IS TRUE AND (k.coninhcount > 0 OR k.conparentid <> 0)))",

    // Indexes. A constraint's falls with it. An invalid one is there and helps nobody.
    R"(
SELECT format('index %I.%I', n.nspname, c.relname),
       coalesce((SELECT format('constraint %s.%I', rel.name, k.conname) FROM pg_constraint AS k
                 WHERE k.conindid = i.indexrelid AND k.conrelid = rel.oid
                   AND k.contype IN ('p', 'u', 'x')), rel.object),
       pg_get_indexdef(i.indexrelid) || CASE WHEN i.indisvalid THEN '' ELSE ' (invalid)' END
FROM pg_index AS i
JOIN rel ON rel.oid = i.indrelid
JOIN pg_class AS c ON c.oid = i.indexrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE NOT (rel.is_day AND c.relispartition))",

    // Sequences.
    R"(
SELECT rel.object, coalesce(owner.object, rel.space_object),
       concat_ws(' ', CASE rel.relpersistence WHEN 'u' THEN 'unlogged' END,
         format('%s START %s INCREMENT %s MINVALUE %s MAXVALUE %s CACHE %s', format_type(s.seqtypid, NULL),
                s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache),
         CASE WHEN s.seqcycle THEN 'CYCLE' END,
         format(CASE d.deptype WHEN 'i' THEN 'of the identity %s.%I' WHEN 'a' THEN 'OWNED BY %s.%I' END,
                owner.name, a.attname))
FROM rel
JOIN pg_sequence AS s ON s.seqrelid = rel.oid
LEFT JOIN (pg_depend AS d
           JOIN rel AS owner ON owner.oid = d.refobjid
           JOIN pg_attribute AS a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid)
  ON d.classid = 'pg_class'::regclass AND d.objid = rel.oid AND d.refclassid = 'pg_class'::regclass
     AND d.deptype IN ('a', 'i'))",

    // Types. A composite type's columns are told as columns.
    R"(
SELECT object, space_object,
       CASE typtype
         WHEN 'e' THEN 'ENUM (' || coalesce((SELECT string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder)
                                             FROM pg_enum WHERE enumtypid = typ.oid), '') || ')'
         WHEN 'd' THEN concat_ws(' ', format_type(typbasetype, typtypmod),
           (SELECT format('COLLATE %I.%I', n.nspname, c.collname)
            FROM pg_collation AS c JOIN pg_namespace AS n ON n.oid = c.collnamespace
            JOIN pg_type AS base ON base.oid = typ.typbasetype
            WHERE c.oid = typ.typcollation AND typ.typcollation <> base.typcollation),
           CASE WHEN typnotnull THEN 'NOT NULL' END, 'DEFAULT ' || typdefault)
         WHEN 'r' THEN (SELECT concat_ws(' ', 'range of', format_type(r.rngsubtype, NULL),
                          'COLLATE ' || nullif(r.rngcollation, 0)::regcollation::text,
                          'CANONICAL ' || nullif(r.rngcanonical::oid, 0)::regproc::text,
                          'DIFF ' || nullif(r.rngsubdiff::oid, 0)::regproc::text)
                        FROM pg_range AS r WHERE r.rngtypid = typ.oid)
         WHEN 'c' THEN 'composite'
         ELSE 'base'
       END
FROM typ)",

    // Functions, procedures and aggregates. Line ends are those of the file that made them.
    R"(
SELECT object, space_object,
       CASE WHEN prokind <> 'a' THEN replace(pg_get_functiondef(fun.oid), E'\r\n', E'\n')
         ELSE (SELECT concat_ws(', ', 'state ' || format_type(a.aggtranstype, NULL),
                 'by ' || a.aggtransfn::regprocedure::text,
                 'final ' || nullif(a.aggfinalfn::oid, 0)::regprocedure::text,
                 'combined by ' || nullif(a.aggcombinefn::oid, 0)::regprocedure::text,
                 'from ' || quote_literal(a.agginitval))
               FROM pg_aggregate AS a WHERE a.aggfnoid = fun.oid)
       END
FROM fun)",

    // Triggers, rules and policies.
    R"(
SELECT format('trigger %I on %s', t.tgname, rel.name), rel.object,
       pg_get_triggerdef(t.oid) || CASE t.tgenabled WHEN 'D' THEN ' (disabled)' WHEN 'R' THEN ' (on replicas)'
                                                    WHEN 'A' THEN ' (always)' ELSE '' END
FROM pg_trigger AS t JOIN rel ON rel.oid = t.tgrelid
WHERE NOT t.tgisinternal AND NOT (rel.is_day AND t.tgparentid <> 0)
UNION ALL
SELECT format('rule %I on %s', r.rulename, rel.name), rel.object,
       pg_get_ruledef(r.oid) || CASE r.ev_enabled WHEN 'D' THEN ' (disabled)' WHEN 'R' THEN ' (on replicas)'
                                                  WHEN 'A' THEN ' (always)' ELSE '' END
FROM pg_rewrite AS r JOIN rel ON rel.oid = r.ev_class
WHERE r.rulename <> '_RETURN'
UNION ALL
SELECT format('policy %I on %s', p.polname, rel.name), rel.object,
       concat_ws(' ', CASE WHEN p.polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END,
         'FOR', CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE'
                              WHEN 'd' THEN 'DELETE' ELSE 'ALL' END,
         'TO', (SELECT string_agg(CASE role WHEN 0 THEN 'PUBLIC' ELSE role::regrole::text END, ', '
                                  ORDER BY role::regrole::text)
                FROM unnest(p.polroles) AS role),
         'USING ' || pg_get_expr(p.polqual, p.polrelid),
         'WITH CHECK ' || pg_get_expr(p.polwithcheck, p.polrelid))
FROM pg_policy AS p JOIN rel ON rel.oid = p.polrelid)",

    // Extended statistics.
    R"(
SELECT format('statistics %I.%I', n.nspname, s.stxname), rel.object, pg_get_statisticsobjdef(s.oid)
FROM pg_statistic_ext AS s
JOIN rel ON rel.oid = s.stxrelid
JOIN pg_namespace AS n ON n.oid = s.stxnamespace)",

    // Comments.
    R"(
SELECT format('comment on %s %s', kind, i.identity), format('%s %s', kind, i.identity), d.description
FROM pg_description AS d
CROSS JOIN pg_identify_object(d.classoid, d.objoid, d.objsubid) AS i
CROSS JOIN replace(i.type, 'table column', 'column') AS kind
WHERE d.objoid >= 16384 AND i.type <> 'extension' AND coalesce(i.schema, '') !~ '^("?pg_|original$)'
  AND d.objoid NOT IN (SELECT oid FROM history) AND d.objoid NOT IN (SELECT oid FROM day)
  AND NOT EXISTS (SELECT FROM member AS m WHERE m.classid = d.classoid AND m.objid = d.objoid))",

    // What PUBLIC and the owner may do. Of the schema public, that is the template's affair.
    R"(
SELECT 'privileges on ' || x.object, x.object,
       coalesce((SELECT string_agg(format('%s: %s', who, what), '; ' ORDER BY who)
                 FROM (SELECT CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE 'owner' END AS who,
                              string_agg(a.privilege_type || CASE WHEN a.is_grantable THEN '*' ELSE '' END, ', '
                                         ORDER BY a.privilege_type) AS what
                       FROM aclexplode(x.acl) AS a
                       WHERE a.grantee IN (0, x.owner)
                       GROUP BY 1) AS granted), 'none')
FROM (
  SELECT object, relowner AS owner,
         coalesce(relacl, acldefault((CASE relkind WHEN 'S' THEN 's' ELSE 'r' END)::"char", relowner)) AS acl
  FROM rel WHERE relkind <> 'c' AND NOT is_day
  UNION ALL
  SELECT format('column %s.%I', rel.name, a.attname), rel.relowner, a.attacl
  FROM rel JOIN pg_attribute AS a ON a.attrelid = rel.oid
  WHERE NOT a.attisdropped AND NOT is_day
    AND EXISTS (SELECT FROM aclexplode(a.attacl) AS g WHERE g.grantee IN (0, rel.relowner))
  UNION ALL
  SELECT object, proowner, coalesce(proacl, acldefault('f', proowner)) FROM fun
  UNION ALL
  SELECT object, typowner, coalesce(typacl, acldefault('T', typowner)) FROM typ
  UNION ALL
  SELECT object, nspowner, coalesce(nspacl, acldefault('n', nspowner)) FROM space WHERE nspname <> 'public'
) AS x)",

    // All else that migrations could make, by name. A range type brings casts.
    R"(
SELECT format('%s %s', i.type, i.identity), coalesce('schema ' || i.schema, ''), ''
FROM (
  SELECT 'pg_collation'::regclass AS class, oid FROM pg_collation
  UNION ALL SELECT 'pg_operator'::regclass, oid FROM pg_operator
  UNION ALL SELECT 'pg_opclass'::regclass, oid FROM pg_opclass
  UNION ALL SELECT 'pg_opfamily'::regclass, oid FROM pg_opfamily
  UNION ALL SELECT 'pg_conversion'::regclass, oid FROM pg_conversion
  UNION ALL SELECT 'pg_ts_config'::regclass, oid FROM pg_ts_config
  UNION ALL SELECT 'pg_ts_dict'::regclass, oid FROM pg_ts_dict
  UNION ALL SELECT 'pg_cast'::regclass, oid FROM pg_cast
) AS x
CROSS JOIN pg_identify_object(x.class, x.oid, 0) AS i
WHERE x.oid >= 16384 AND coalesce(i.schema, '') !~ '^("?pg_|information_schema$|original$)'
  AND NOT EXISTS (SELECT FROM pg_depend AS d
                  WHERE d.classid = x.class AND d.objid = x.oid AND d.deptype IN ('e', 'i')))",
};

}  // namespace

std::span<const absl::string_view> CatalogQueries() { return kQueries; }

}  // namespace parley::db
