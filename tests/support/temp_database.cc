#include "tests/support/temp_database.h"

#include <libpq-fe.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/fingerprint.h"
#include "db/migrator/embedded.h"
#include "db/migrator/migrator.h"

namespace parley::testing {
namespace {

[[noreturn]] void Abort(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  std::abort();
}

std::string UniqueName() {
  static std::atomic<int> next{0};
  return absl::StrCat("test_", getpid(), "_", absl::ToUnixMicros(absl::Now()), "_", next++);
}

// The template's name changes with the migrations, so that an old one is never cloned.
std::string TemplateName() {
  std::string all;
  for (const db::EmbeddedMigration& migration : db::EmbeddedMigrations()) {
    absl::StrAppend(&all, migration.file_name, migration.text);
  }
  return absl::StrCat("parley_template_", Fingerprint({all}));
}

// Makes the template unless it is there; one test binary at a time.
void EnsureTemplate(const std::string& name) {
  SqlConnection admin(ClusterDsn());
  admin.Run("SELECT pg_advisory_lock(7205759403)");
  if (!admin.Run(absl::StrCat("SELECT 1 FROM pg_database WHERE datname = '", name, "'")).empty()) {
    return;
  }
  const std::string building = absl::StrCat(name, "_new");
  admin.Run(absl::StrCat("DROP DATABASE IF EXISTS ", building));
  admin.Run(absl::StrCat("CREATE DATABASE ", building));
  const absl::Status migrated = db::MigrateUp(ClusterDsn().With("dbname", building));
  if (!migrated.ok()) Abort(absl::StrCat("cannot migrate: ", migrated.ToString()));
  admin.Run(absl::StrCat("ALTER DATABASE ", building, " RENAME TO ", name));
}

}  // namespace

struct SqlConnection::Impl {
  PGconn* connection;
};

SqlConnection::SqlConnection(const db::Dsn& dsn) : impl_(new Impl{PQconnectdb(dsn.Uri().c_str())}) {
  if (PQstatus(impl_->connection) != CONNECTION_OK) Abort(PQerrorMessage(impl_->connection));
}

SqlConnection::~SqlConnection() { PQfinish(impl_->connection); }

std::string SqlConnection::Run(const std::string& sql) {
  PGresult* result = PQexec(impl_->connection, sql.c_str());
  const ExecStatusType status = PQresultStatus(result);
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
    Abort(absl::StrCat(PQresultErrorMessage(result), " in ", sql));
  }
  std::string value;
  if (PQntuples(result) > 0 && PQnfields(result) > 0) value = PQgetvalue(result, 0, 0);
  PQclear(result);
  return value;
}

std::string RunSql(const db::Dsn& dsn, const std::string& sql) {
  return SqlConnection(dsn).Run(sql);
}

db::Dsn ClusterDsn() {
  const char* url = std::getenv("PARLEY_TEST_DATABASE_URL");
  if (url == nullptr) {
    Abort("PARLEY_TEST_DATABASE_URL is not set; tests/run.sh starts a cluster and sets it");
  }
  absl::StatusOr<db::Dsn> dsn = db::Dsn::Parse(url);
  if (!dsn.ok()) Abort(dsn.status().ToString());
  return *dsn;
}

TempDatabase::TempDatabase() : name_(UniqueName()), dsn_(ClusterDsn().With("dbname", name_)) {
  const std::string source = TemplateName();
  EnsureTemplate(source);
  RunSql(ClusterDsn(), absl::StrCat("CREATE DATABASE ", name_, " TEMPLATE ", source));
  db::PoolOptions options;
  options.size = 16;
  pool_ = std::make_unique<db::SessionPool>(dsn_, options);
}

TempDatabase::~TempDatabase() {
  pool_.reset();
  RunSql(ClusterDsn(), absl::StrCat("DROP DATABASE ", name_, " WITH (FORCE)"));
}

std::string TempDatabase::Sql(const std::string& sql) const { return RunSql(dsn_, sql); }

}  // namespace parley::testing
