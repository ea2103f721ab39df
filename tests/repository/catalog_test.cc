#include "db/migrator/catalog.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "db/migrator/migrator.h"
#include "tests/repository/empty_database.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_database.h"

namespace parley::db {
namespace {

using ::parley::testing::EmptyDatabase;
using ::parley::testing::IsOk;
using ::parley::testing::SqlConnection;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Key;
using ::testing::Not;
using ::testing::StartsWith;

Catalog CatalogAt(const Dsn& dsn) {
  absl::StatusOr<Connection> connection = Connection::Open(dsn);
  EXPECT_THAT(connection, IsOk());
  absl::StatusOr<Catalog> catalog = ReadCatalog(*connection);
  EXPECT_THAT(catalog, IsOk());
  return *catalog;
}

std::vector<std::string> Describe(const std::vector<CatalogDifference>& differences) {
  std::vector<std::string> lines;
  lines.reserve(differences.size());
  for (const CatalogDifference& difference : differences) {
    lines.push_back(DescribeDifference(difference));
  }
  return lines;
}

// Parley's schema, and one of every kind of object that it does not have.
constexpr char kMore[] = R"(
  CREATE SCHEMA more;
  CREATE TYPE mood AS ENUM ('sad', 'it''s ok');
  CREATE DOMAIN short AS text COLLATE "C" DEFAULT 'a' CHECK (VALUE <> '');
  CREATE TYPE pair AS (first integer, second text);
  CREATE TYPE spans AS RANGE (subtype = float8);
  CREATE TABLE more.parts (id integer GENERATED ALWAYS AS IDENTITY, mood mood, "Quoted Name" short,
                           twice integer GENERATED ALWAYS AS (2) STORED);
  ALTER TABLE more.parts ADD CONSTRAINT positive CHECK (id > 0) NOT VALID;
  ALTER TABLE more.parts ENABLE ROW LEVEL SECURITY;
  CREATE POLICY own ON more.parts FOR SELECT USING (id > 7);
  CREATE RULE quiet AS ON DELETE TO more.parts DO INSTEAD NOTHING;
  CREATE STATISTICS more.ways ON id, mood FROM more.parts;
  COMMENT ON COLUMN more.parts.mood IS 'today';
  CREATE MATERIALIZED VIEW sums AS SELECT count(*) AS n FROM users;
  CREATE UNIQUE INDEX sums_n ON sums (n);
  CREATE PROCEDURE act(n integer) LANGUAGE sql BEGIN ATOMIC SELECT n; END;
  CREATE AGGREGATE product(integer) (SFUNC = int4mul, STYPE = integer, INITCOND = '1');
  CREATE SEQUENCE counter AS smallint INCREMENT 5 CYCLE;
  GRANT SELECT ON chats TO PUBLIC;
  CREATE COLLATION plain (provider = libc, locale = 'C');
  CREATE FUNCTION now_there() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
  CREATE TRIGGER watch AFTER INSERT ON messages FOR EACH ROW EXECUTE FUNCTION now_there();
)";

class CatalogTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_THAT(MigrateUp(database_.dsn()), IsOk());
    database_.Sql(kMore);
  }

  EmptyDatabase database_;
};

TEST_F(CatalogTest, HoldsEveryKindOfObject) {
  const Catalog catalog = CatalogAt(database_.dsn());
  for (const char* object : {"extension btree_gin",
                             "schema more",
                             "table public.task_history",
                             "column public.users.login",
                             "order of columns of table more.parts",
                             "column more.parts.\"Quoted Name\"",
                             "setting fillfactor of table public.chats",
                             "setting row security of table more.parts",
                             "constraint public.users.users_login_check",
                             "constraint public.short.short_check",
                             "index public.users_by_status",
                             "index public.sums_n",
                             "sequence public.counter",
                             "sequence more.parts_id_seq",
                             "type public.mood",
                             "type public.pair",
                             "type public.spans",
                             "domain public.short",
                             "column public.pair.second",
                             "view public.all_tasks",
                             "materialized view public.sums",
                             "function public.extend_task_history(date,date)",
                             "procedure public.act(integer)",
                             "aggregate public.product(integer)",
                             "trigger count_new on public.tasks",
                             "rule quiet on more.parts",
                             "policy own on more.parts",
                             "statistics more.ways",
                             "comment on column more.parts.mood",
                             "privileges on table public.chats",
                             "privileges on schema more",
                             "collation public.plain"}) {
    EXPECT_THAT(catalog, Contains(Key(object)));
  }
  for (const auto& [name, object] : catalog) {
    EXPECT_TRUE(object.parent.empty() || catalog.contains(object.parent))
        << name << " falls with " << object.parent;
    EXPECT_THAT(name, Not(HasSubstr("gin_extract_value"))) << "a member of an extension";
    EXPECT_THAT(name, Not(HasSubstr("schema_migrations")));
    EXPECT_THAT(name, Not(HasSubstr("task_history_20"))) << "a partition of a day";
  }
}

TEST_F(CatalogTest, IsEmptyForAnEmptyDatabase) {
  const EmptyDatabase empty;
  std::vector<std::string> objects;
  for (const auto& [name, object] : CatalogAt(empty.dsn())) objects.push_back(name);
  EXPECT_THAT(objects, ElementsAre("extension plpgsql", "schema public"));
}

struct Change {
  std::string sql;
  std::vector<std::string> told;  // the beginnings of the lines
};

TEST_F(CatalogTest, NamesEveryKindOfChange) {
  const std::vector<Change> changes = {
      {"DROP INDEX users_by_status",
       {"missing index public.users_by_status: CREATE INDEX users_by_status ON public.users"}},
      {"CREATE INDEX extra ON users (name)", {"unexpected index public.extra: CREATE INDEX"}},
      {"UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'messages_by_id'::regclass",
       {"changed index public.messages_by_id: is CREATE INDEX messages_by_id ON public.messages"
        " USING btree (id) (invalid), should be CREATE"}},
      {"ALTER TABLE users ALTER status SET DEFAULT 'blocked'",
       {"changed column public.users.status: is text NOT NULL DEFAULT 'blocked'::text, should be "
        "text NOT NULL DEFAULT 'active'::text"}},
      {"ALTER TABLE users ALTER status DROP NOT NULL", {"changed column public.users.status: is"}},
      {"ALTER TABLE users ALTER login TYPE varchar(300)",
       {"changed column public.users.login: is character varying(300)",
        "changed constraint public.users.users_login_check: is"}},
      {"ALTER TABLE tasks ALTER payload SET STORAGE EXTENDED",
       {"changed column public.tasks.payload: is bytea NOT NULL, should be bytea NOT NULL STORAGE "
        "EXTERNAL"}},
      {"ALTER TABLE users ADD nick text", {"unexpected column public.users.nick: text"}},
      {"ALTER TABLE erasures DROP finished_at",
       {"missing column public.erasures.finished_at: timestamp with time zone"}},
      {"ALTER TABLE erasures DROP created_at, ADD created_at timestamptz NOT NULL DEFAULT now()",
       {"changed order of columns of table public.erasures: is user_id, task_id, messages_erased, "
        "finished_at, created_at, should be user_id, task_id, messages_erased, created_at, "
        "finished_at"}},
      {"ALTER TABLE users DROP CONSTRAINT users_login_check",
       {"missing constraint public.users.users_login_check: CHECK"}},
      {"ALTER TABLE users DROP CONSTRAINT users_login_key_key",
       {"missing constraint public.users.users_login_key_key: UNIQUE (login_key)"}},
      {"ALTER TABLE more.parts VALIDATE CONSTRAINT positive",
       {"changed constraint more.parts.positive: is CHECK ((id > 0)), should be CHECK ((id > 0)) "
        "NOT "
        "VALID"}},
      {"ALTER TABLE messages DISABLE TRIGGER watch",
       {"changed trigger watch on public.messages: is CREATE TRIGGER"}},
      {"ALTER TABLE message_events DISABLE TRIGGER ALL",
       {"changed constraint public.message_events.message_events_chat_id_seq_fkey: is FOREIGN "
        "KEY"}},
      {"DROP TRIGGER count_new ON tasks", {"missing trigger count_new on public.tasks: CREATE"}},
      {"CREATE OR REPLACE FUNCTION now_there() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN\n"
       "RETURN NEW; END $$",
       {"changed function public.now_there(): line 4 is AS $function$ BEGIN, should be AS "
        "$function$ BEGIN RETURN NULL; END $function$"}},
      {"ALTER FUNCTION now_there() SET search_path = public",
       {"changed function public.now_there(): line 4 is SET search_path TO 'public', should be"}},
      {"DROP AGGREGATE product(integer)", {"missing aggregate public.product(integer): state"}},
      {"CREATE FUNCTION extra() RETURNS integer LANGUAGE sql RETURN 1",
       {"unexpected function public.extra(): CREATE OR REPLACE FUNCTION"}},
      {"DROP VIEW all_tasks; CREATE VIEW all_tasks AS SELECT id FROM tasks",
       {"changed view public.all_tasks: line 1 is"}},
      {"ALTER VIEW all_tasks SET (security_barrier)",
       {"unexpected setting security_barrier of view public.all_tasks: true"}},
      {"DROP MATERIALIZED VIEW sums", {"missing materialized view public.sums: SELECT count(*)"}},
      {"ALTER TABLE chats SET (fillfactor = 90)",
       {"changed setting fillfactor of table public.chats: is 90, should be 80"}},
      {"ALTER TABLE chats RESET (fillfactor)",
       {"missing setting fillfactor of table public.chats: 80"}},
      {"ALTER TABLE chats SET (toast.autovacuum_enabled = off)",
       {"unexpected setting toast.autovacuum_enabled of table public.chats: off"}},
      {"ALTER TABLE chats REPLICA IDENTITY FULL",
       {"unexpected setting replica identity of table public.chats: full"}},
      {"ALTER TABLE more.parts DISABLE ROW LEVEL SECURITY",
       {"missing setting row security of table more.parts: enabled"}},
      {"ALTER POLICY own ON more.parts USING (true)",
       {"changed policy own on more.parts: is PERMISSIVE FOR SELECT TO PUBLIC USING true, should "
        "be"}},
      {"DROP RULE quiet ON more.parts", {"missing rule quiet on more.parts: CREATE RULE"}},
      {"ALTER TABLE requests SET UNLOGGED",
       {"changed table public.requests: is unlogged, should be logged"}},
      {"CREATE TABLE extra (n integer PRIMARY KEY)", {"unexpected table public.extra: logged"}},
      {"CREATE UNLOGGED TABLE more.child () INHERITS (more.parts)",
       {"unexpected table more.child: unlogged, inherits more.parts"}},
      {"DROP TABLE erasures", {"missing table public.erasures: logged"}},
      {"DROP SCHEMA more CASCADE", {"missing schema more"}},
      {"CREATE SCHEMA other; CREATE TABLE other.a (n integer)", {"unexpected schema other"}},
      {"ALTER TYPE mood ADD VALUE 'happy' BEFORE 'sad'",
       {"changed type public.mood: is ENUM ('happy', 'sad', 'it''s ok'), should be ENUM ('sad', "
        "'it''s ok')"}},
      {"ALTER DOMAIN short SET NOT NULL",
       {"changed domain public.short: is text COLLATE pg_catalog.\"C\" NOT NULL DEFAULT 'a'::text, "
        "should be text COLLATE"}},
      {"ALTER DOMAIN short DROP CONSTRAINT short_check",
       {"missing constraint public.short.short_check: CHECK"}},
      {"ALTER TYPE pair ADD ATTRIBUTE third bigint",
       {"unexpected column public.pair.third: bigint"}},
      {"ALTER SEQUENCE counter NO CYCLE INCREMENT 1 CACHE 10",
       {"changed sequence public.counter: is smallint START 1 INCREMENT 1 MINVALUE 1 MAXVALUE "
        "32767 "
        "CACHE 10, should be smallint START 1 INCREMENT 5"}},
      {"ALTER SEQUENCE task_id_seq OWNED BY NONE",
       {"changed sequence public.task_id_seq: is bigint"}},
      {"DROP STATISTICS more.ways", {"missing statistics more.ways: CREATE STATISTICS"}},
      {"COMMENT ON COLUMN more.parts.mood IS 'tomorrow'",
       {"changed comment on column more.parts.mood: is tomorrow, should be today"}},
      {"COMMENT ON TABLE users IS 'people'", {"unexpected comment on table public.users: people"}},
      {"GRANT EXECUTE ON FUNCTION parley_enqueue TO PUBLIC",
       {"changed privileges on function public.parley_enqueue("}},
      {"GRANT INSERT ON chats TO PUBLIC",
       {"changed privileges on table public.chats: is PUBLIC: INSERT, SELECT; owner: DELETE, "
        "INSERT"}},
      {"GRANT UPDATE (title) ON chats TO PUBLIC",
       {"unexpected privileges on column public.chats.title: PUBLIC: UPDATE"}},
      {"DROP EXTENSION btree_gin CASCADE",
       {"missing extension btree_gin: in schema public",
        "missing index public.messages_search: CREATE INDEX"}},
      {"CREATE OPERATOR === (LEFTARG = integer, RIGHTARG = integer, FUNCTION = int4eq)",
       {"unexpected operator public.===(integer,integer)"}},
      {"ALTER TABLE task_history DETACH PARTITION task_history_20300101;"
       "ALTER TABLE task_history ATTACH PARTITION task_history_20300101"
       " FOR VALUES FROM ('2030-01-01') TO ('2030-01-03')",
       {"unexpected table public.task_history_20300101: logged, partition of public.task_history, "
        "FOR "
        "VALUES FROM ('2030-01-01 00:00:00+00') TO ('2030-01-03 00:00:00+00')"}},
      {"CREATE INDEX extra ON task_history_20300101 (name)",
       {"unexpected index public.extra: CREATE INDEX"}},
      {"ALTER TABLE task_history_20300101 ADD CONSTRAINT extra CHECK (name <> 'x')",
       {"unexpected constraint public.task_history_20300101.extra: CHECK"}},
  };
  database_.Sql("SELECT extend_task_history('2030-01-01', '2030-01-01')");
  const Catalog before = CatalogAt(database_.dsn());
  for (const Change& change : changes) {
    const EmptyDatabase copy(database_.name());
    copy.Sql(absl::StrCat("SET client_min_messages = warning;", change.sql));
    const std::vector<std::string> told = Describe(CompareCatalogs(before, CatalogAt(copy.dsn())));
    std::vector<::testing::Matcher<std::string>> expected;
    for (const std::string& line : change.told) expected.push_back(StartsWith(line));
    EXPECT_THAT(told, ::testing::ElementsAreArray(expected)) << change.sql;
  }
}

TEST_F(CatalogTest, IsSilentOnWhatMigrationsDoNotMake) {
  const Catalog before = CatalogAt(database_.dsn());
  SqlConnection session(database_.dsn());
  session.Run("CREATE TEMPORARY TABLE mine (n integer PRIMARY KEY)");
  for (const std::string& sql : std::vector<std::string>{
           "SELECT extend_task_history('2029-12-01', '2030-02-01')",
           "DROP TABLE task_history_20300101", "SELECT setval('task_id_seq', 4711)",
           "GRANT SELECT ON users TO pg_monitor; GRANT EXECUTE ON FUNCTION parley_enqueue TO "
           "pg_monitor",
           "ALTER TABLE users OWNER TO pg_monitor; ALTER FUNCTION now_there OWNER TO pg_monitor",
           "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO pg_monitor",
           "REVOKE ALL ON SCHEMA public FROM PUBLIC; COMMENT ON SCHEMA public IS 'ours'",
           "CREATE EXTENSION pg_stat_statements; CREATE EXTENSION hstore SCHEMA more",
           "CREATE SCHEMA original; CREATE TYPE original.t AS ENUM ('a'); CREATE TABLE original.a "
           "(n"
           " original.t PRIMARY KEY); COMMENT ON COLUMN original.a.n IS 'old'",
           "CREATE PUBLICATION changes FOR TABLE users",
           "ALTER TABLE schema_migrations ADD note text; COMMENT ON TABLE schema_migrations IS 'a'",
           "ALTER TABLE schema_migration_log ADD note text",
           "ALTER TABLE users CLUSTER ON users_pkey",
           absl::StrCat("ALTER DATABASE ", database_.name(), " SET search_path = public"),
           absl::StrCat("ALTER DATABASE ", database_.name(), " SET timezone = 'Asia/Tokyo'"),
           absl::StrCat("ALTER DATABASE ", database_.name(), " SET datestyle = 'German'"),
           absl::StrCat("ALTER DATABASE ", database_.name(), " SET quote_all_identifiers = on")}) {
    database_.Sql(sql);
    EXPECT_THAT(Describe(CompareCatalogs(before, CatalogAt(database_.dsn()))), IsEmpty()) << sql;
  }
}

TEST_F(CatalogTest, IsThatOfADumpThatWasRestored) {
  const EmptyDatabase restored;
  const std::string command =
      absl::StrCat("pg_dump -d '", database_.dsn().Uri(), "' | psql -X -q -v ON_ERROR_STOP=1 -d '",
                   restored.dsn().Uri(), "' >/dev/null");
  ASSERT_EQ(std::system(command.c_str()), 0);
  EXPECT_THAT(Describe(CompareCatalogs(CatalogAt(database_.dsn()), CatalogAt(restored.dsn()))),
              IsEmpty());
}

}  // namespace
}  // namespace parley::db
