#include "db/core/session.h"

#include <fcntl.h>
#include <poll.h>
#include <soci/postgresql/soci-postgresql.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/error.h"

namespace parley::db {
namespace {

struct ResultDeleter {
  void operator()(PGresult* result) const { PQclear(result); }
};
using Result = std::unique_ptr<PGresult, ResultDeleter>;

PGconn* LibpqConnection(soci::session& session) {
  // static_cast: the backend is always PostgreSQL's, and dynamic_cast across libraries is not
  // sound.
  return static_cast<soci::postgresql_session_backend*>(session.get_backend())->conn_;
}

// Up to the next number whose highest four bits are all that is set: at most an eighth more.
std::int64_t RoundUp(std::int64_t ms) {
  ms = std::min<std::int64_t>(ms, std::int64_t{1} << 30);
  std::int64_t step = 1;
  while (ms / step >= 16) step *= 2;
  return (ms + step - 1) / step * step;
}

}  // namespace

std::string ArrayLiteral(const std::vector<std::int64_t>& values) {
  std::string literal = "{";
  for (std::size_t i = 0; i < values.size(); ++i) {
    absl::StrAppend(&literal, i == 0 ? "" : ",", values[i]);
  }
  return literal + "}";
}

std::string ArrayLiteral(const std::vector<std::string>& values) {
  std::string literal = "{";
  for (std::size_t i = 0; i < values.size(); ++i) {
    absl::StrAppend(&literal, i == 0 ? "\"" : ",\"");
    for (const char c : values[i]) {
      if (c == '"' || c == '\\') literal.push_back('\\');
      literal.push_back(c);
    }
    literal.push_back('"');
  }
  return literal + "}";
}

absl::StatusOr<std::unique_ptr<Session>> Session::Connect(const Dsn& dsn) {
  std::unique_ptr<Session> session(new Session());
  const absl::Status status = Guard("connect", [&] {
    session->session_ = std::make_unique<soci::session>(soci::postgresql, dsn.Uri());
  });
  // A failed connect carries no SQLSTATE; whatever it was, the database cannot be used now.
  if (!status.ok()) return StatusFromSqlState("", "connect");
  // What the server says beside its answers; libpq would print it between the lines of the log.
  PQsetNoticeProcessor(
      LibpqConnection(*session->session_), [](void*, const char*) {}, nullptr);
  if (dsn.pooler() != Pooler::kNone) {
    // Poolers know this setting, and see to it that it goes along with the client.
    PARLEY_RETURN_IF_ERROR(session->Command("SET timezone = 'UTC'"));
  }
  const std::optional<std::string> wanted = dsn.Find("target_session_attrs");
  session->pooled_by_transaction_ = dsn.pooler() == Pooler::kTransaction;
  session->must_take_writes_ = wanted == "read-write" || wanted == "primary";
  session->socket_ = fcntl(PQsocket(LibpqConnection(*session->session_)), F_DUPFD_CLOEXEC, 0);
  return session;
}

Session::~Session() {
  if (socket_ >= 0) close(socket_);
}

absl::Status Session::SetDeadline(absl::Time deadline) {
  std::int64_t timeout_ms = 0;  // PostgreSQL's word for none
  if (deadline != absl::InfiniteFuture()) {
    const std::int64_t left_ms = absl::ToInt64Milliseconds(deadline - SteadyNow());
    if (left_ms <= 0) {
      return Error(absl::StatusCode::kDeadlineExceeded, reason::kDeadlineExceeded,
                   "the deadline passed before the database was asked");
    }
    timeout_ms = RoundUp(left_ms);
  }
  if (pooled_by_transaction_) timeout_ms_ = timeout_ms;
  if (timeout_ms == timeout_ms_) return absl::OkStatus();
  PARLEY_RETURN_IF_ERROR(Command(absl::StrCat("SET statement_timeout = ", timeout_ms).c_str()));
  timeout_ms_ = timeout_ms;
  return absl::OkStatus();
}

absl::StatusOr<std::int64_t> Session::Execute(const Statement& statement, std::vector<Bind> binds) {
  std::int64_t affected = 0;
  PARLEY_RETURN_IF_ERROR(Guarded(statement, [&] {
    soci::statement& prepared = Prepare(statement);
    Exchange(prepared, binds);
    prepared.define_and_bind();
    prepared.execute(true);
    affected = prepared.get_affected_rows();
  }));
  return affected;
}

absl::Status Session::Command(const char* sql) {
  PGconn* connection = LibpqConnection(*session_);
  const Result result(PQexec(connection, sql));
  switch (PQresultStatus(result.get())) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
      return absl::OkStatus();
    default:
      break;
  }
  const char* sqlstate = PQresultErrorField(result.get(), PG_DIAG_SQLSTATE);
  absl::Status status = StatusFromSqlState(sqlstate == nullptr ? "" : sqlstate, sql);
  if (IsConnectionLost(status)) broken_ = true;
  return status;
}

absl::Status Session::Begin() {
  if (!pooled_by_transaction_) return Command("BEGIN");
  return Command(absl::StrCat("BEGIN; SET LOCAL statement_timeout = ", timeout_ms_, "; ",
                              "SET LOCAL idle_in_transaction_session_timeout = '60s'")
                     .c_str());
}

absl::Status Session::Commit() {
  PGconn* connection = LibpqConnection(*session_);
  if (PQtransactionStatus(connection) == PQTRANS_INERROR) {
    // COMMIT would answer without an error, and roll back.
    return InternalError("commit of a transaction in which a statement had failed");
  }
  return Command("COMMIT");
}

bool Session::Reset() {
  PGconn* connection = LibpqConnection(*session_);
  if (broken_ || !IsOfUse()) return false;
  switch (PQtransactionStatus(connection)) {
    case PQTRANS_IDLE:
      return true;
    case PQTRANS_INTRANS:
    case PQTRANS_INERROR:
      return Command("ROLLBACK").ok();
    default:
      return false;
  }
}

bool Session::LooksAlive() {
  PGconn* connection = LibpqConnection(*session_);
  // What an idle server sends unasked is its farewell: an error message, then the end of the
  // stream.
  constexpr int kReads = 3;
  for (int i = 0; i < kReads; ++i) {
    pollfd socket{PQsocket(connection), POLLIN, 0};
    if (poll(&socket, 1, 0) <= 0) break;
    if (PQconsumeInput(connection) == 0) return false;
  }
  return IsOfUse();
}

bool Session::IsOfUse() const {
  PGconn* connection = LibpqConnection(*session_);
  if (PQstatus(connection) != CONNECTION_OK) return false;
  if (!must_take_writes_) return true;
  for (const char* setting : {"default_transaction_read_only", "in_hot_standby"}) {
    const char* value = PQparameterStatus(connection, setting);
    if (value != nullptr && absl::string_view(value) == "on") return false;
  }
  return true;
}

void Session::Abort() {
  if (socket_ >= 0) shutdown(socket_, SHUT_RDWR);
}

PGconn* Session::connection() const { return LibpqConnection(*session_); }

absl::Status Session::Ping() {
  PARLEY_RETURN_IF_ERROR(Command("SELECT 1"));
  if (IsOfUse()) return absl::OkStatus();
  constexpr absl::string_view kReadOnly = "25006";
  return StatusFromSqlState(kReadOnly, "ping");
}

soci::statement& Session::Prepare(const Statement& statement) {
  std::unique_ptr<soci::statement>& cached = prepared_[&statement];
  if (cached == nullptr) {
    auto fresh = std::make_unique<soci::statement>(*session_);
    fresh->alloc();
    // What is executed once is sent with its values, and leaves nothing at the server.
    fresh->prepare(statement.sql, pooled_by_transaction_ ? soci::details::st_one_time_query
                                                         : soci::details::st_repeatable_query);
    cached = std::move(fresh);
  }
  return *cached;
}

void Session::Exchange(soci::statement& prepared, std::vector<Bind>& binds) {
  for (Bind& bind : binds) {
    if (bind.is_text) {
      prepared.exchange(soci::use(bind.text, bind.indicator, bind.name));
    } else {
      prepared.exchange(soci::use(bind.number, bind.indicator, bind.name));
    }
  }
}

void Session::Finish(const Statement& statement, const absl::Status& status) {
  if (IsConnectionLost(status)) broken_ = true;
  const auto found = prepared_.find(&statement);
  // Keeps the server's prepared statement, forgets the addresses of this call's values.
  if (found != prepared_.end() && found->second != nullptr) found->second->bind_clean_up();
}

}  // namespace parley::db
