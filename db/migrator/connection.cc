#include "db/migrator/connection.h"

#include <poll.h>

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "db/migrator/problem.h"

namespace parley::db {
namespace {

absl::string_view DiagnosticOf(const Result& result, int field) {
  const char* text = PQresultErrorField(result.get(), field);
  return text == nullptr ? absl::string_view() : absl::string_view(text);
}

// A COPY from or to us would otherwise go on for ever.
void EndCopy(PGconn* connection, const Result& result) {
  if (PQresultStatus(result.get()) == PGRES_COPY_IN) PQputCopyEnd(connection, "not possible here");
  if (PQresultStatus(result.get()) != PGRES_COPY_OUT) return;
  char* row = nullptr;
  while (PQgetCopyData(connection, &row, 0) > 0) PQfreemem(row);
}

}  // namespace

absl::string_view FieldOf(const Result& result, int row, int column) {
  return PQgetvalue(result.get(), row, column);
}

Connection::Connection(PGconn* connection)
    : notices_(std::make_unique<std::vector<std::string>>()), connection_(connection) {
  PQsetNoticeProcessor(
      connection,
      [](void* notices, const char* text) {
        static_cast<std::vector<std::string>*>(notices)->emplace_back(
            absl::StripAsciiWhitespace(text));
      },
      notices_.get());
}

absl::StatusOr<Connection> Connection::Open(const Dsn& dsn) {
  const Dsn full = dsn.WithDefault("connect_timeout", "10").With("client_encoding", "UTF8");
  Connection connection(PQconnectdb(full.Uri().c_str()));
  if (!connection.IsLost()) return connection;
  return absl::UnavailableError(
      absl::StrCat("no connection to ", dsn.Redacted(), ": ",
                   absl::StripAsciiWhitespace(PQerrorMessage(connection.connection_.get()))));
}

Result Connection::Run(const std::string& sql) {
  Result result(PQexec(connection_.get(), sql.c_str()));
  // libpq returns nothing when it could not send, or has no memory.
  if (result == nullptr) result.reset(PQmakeEmptyPGresult(connection_.get(), PGRES_FATAL_ERROR));
  return result;
}

Connection::Outcome Connection::RunWatched(const std::string& sql, absl::Duration period,
                                           absl::FunctionRef<void()> tick) {
  PGconn* connection = connection_.get();
  Outcome outcome;
  Result& kept = outcome.result;
  const bool is_sent = PQsendQuery(connection, sql.c_str()) == 1;
  while (is_sent) {
    while (PQisBusy(connection) == 1) {
      pollfd wait{.fd = PQsocket(connection), .events = POLLIN, .revents = 0};
      if (poll(&wait, 1, static_cast<int>(absl::ToInt64Milliseconds(period))) == 0) tick();
      if (PQconsumeInput(connection) == 0) break;
    }
    Result next(PQgetResult(connection));
    if (next == nullptr) break;
    EndCopy(connection, next);
    if (kept != nullptr && !Succeeded(kept)) continue;
    if (Succeeded(next)) ++outcome.statements_done;
    kept = std::move(next);
  }
  if (kept == nullptr) kept.reset(PQmakeEmptyPGresult(connection, PGRES_FATAL_ERROR));
  return outcome;
}

std::vector<std::string> Connection::TakeNotices() { return std::exchange(*notices_, {}); }

std::string Connection::QuoteLiteral(absl::string_view text) const {
  const std::unique_ptr<char, decltype(&PQfreemem)> quoted(
      PQescapeLiteral(connection_.get(), text.data(), text.size()), &PQfreemem);
  // Only a text that is not UTF-8 is refused.
  return quoted == nullptr ? "''" : quoted.get();
}

absl::StatusOr<Result> Connection::Query(const std::string& sql) {
  Result result = Run(sql);
  if (Succeeded(result)) return result;
  if (IsLost()) {
    return absl::UnavailableError(
        absl::StrCat("the connection to the database was lost: ", ErrorTextOf(result)));
  }
  return WithPlace(absl::InternalError(ErrorTextOf(result)),
                   {.sqlstate = std::string(SqlStateOf(result))});
}

absl::Status Connection::Execute(const std::string& sql) { return Query(sql).status(); }

bool Succeeded(const Result& result) {
  const ExecStatusType status = PQresultStatus(result.get());
  return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

std::string ErrorTextOf(const Result& result) {
  const ExecStatusType status = PQresultStatus(result.get());
  if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT) {
    return "COPY from or to the client cannot be used here; use INSERT";
  }
  const absl::string_view message = DiagnosticOf(result, PG_DIAG_MESSAGE_PRIMARY);
  std::string text(message.empty() ? absl::StripAsciiWhitespace(PQresultErrorMessage(result.get()))
                                   : message);
  if (text.empty()) text = PQresStatus(status);
  if (!SqlStateOf(result).empty()) absl::StrAppend(&text, " (SQLSTATE ", SqlStateOf(result), ")");
  const absl::string_view detail = DiagnosticOf(result, PG_DIAG_MESSAGE_DETAIL);
  const absl::string_view hint = DiagnosticOf(result, PG_DIAG_MESSAGE_HINT);
  if (!detail.empty()) absl::StrAppend(&text, "\n  detail: ", detail);
  if (!hint.empty()) absl::StrAppend(&text, "\n  hint: ", hint);
  const absl::string_view context = DiagnosticOf(result, PG_DIAG_CONTEXT);
  if (!context.empty()) absl::StrAppend(&text, "\n  context: ", context);
  return text;
}

absl::string_view SqlStateOf(const Result& result) {
  return DiagnosticOf(result, PG_DIAG_SQLSTATE);
}

}  // namespace parley::db
