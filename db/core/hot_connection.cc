#include "db/core/hot_connection.h"

#include <endian.h>
#include <poll.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "db/core/db_error.h"

namespace parley::db {
namespace {

// OIDs of element types, from the server's pg_type; they never change.
constexpr std::int32_t kByteaOid = 17;
constexpr std::int32_t kInt8Oid = 20;
constexpr std::int32_t kTextOid = 25;
constexpr std::int32_t kTimestamptzOid = 1184;
constexpr std::int32_t kUuidOid = 2950;

constexpr int kBinary = 1;  // libpq's word for the format

// PostgreSQL counts microseconds from here.
const absl::Time kPostgresEpoch = absl::FromUnixSeconds(946'684'800);

void AppendInt32(std::string& out, std::int32_t value) {
  const std::uint32_t wire = htobe32(static_cast<std::uint32_t>(value));
  out.append(reinterpret_cast<const char*>(&wire), sizeof(wire));
}

void AppendInt64(std::string& out, std::int64_t value) {
  const std::uint64_t wire = htobe64(static_cast<std::uint64_t>(value));
  out.append(reinterpret_cast<const char*>(&wire), sizeof(wire));
}

// "SET a = b; SET c = 'd'" as one statement that sets the same until the transaction ends.
std::string ForTheTransaction(absl::string_view settings) {
  std::string select = "SELECT";
  for (absl::string_view setting : absl::StrSplit(settings, "; ")) {
    absl::ConsumePrefix(&setting, "SET ");
    const std::pair<absl::string_view, absl::string_view> parts = absl::StrSplit(setting, " = ");
    absl::StrAppend(&select, select == "SELECT" ? " " : ", ", "set_config('", parts.first, "', '",
                    absl::StripPrefix(absl::StripSuffix(parts.second, "'"), "'"), "', true)");
  }
  return select;
}

// What precedes the elements of an array of one dimension.
std::string ArrayHeader(std::size_t size, std::int32_t element_oid) {
  std::string out;
  AppendInt32(out, size == 0 ? 0 : 1);  // dimensions
  AppendInt32(out, 1);                  // there may be NULLs
  AppendInt32(out, element_oid);
  if (size == 0) return out;
  AppendInt32(out, static_cast<std::int32_t>(size));
  AppendInt32(out, 1);  // the lower bound
  return out;
}

}  // namespace

HotParams& HotParams::Bigint(std::int64_t value) {
  std::string out;
  AppendInt64(out, value);
  values_.push_back(std::move(out));
  return *this;
}

HotParams& HotParams::Boolean(bool value) {
  values_.emplace_back(1, value ? '\1' : '\0');
  return *this;
}

HotParams& HotParams::Timestamptz(absl::Time value) {
  return Bigint(absl::ToInt64Microseconds(value - kPostgresEpoch));
}

HotParams& HotParams::Text(absl::string_view value) {
  values_.emplace_back(value);
  return *this;
}

HotParams& HotParams::BigintArray(const std::vector<std::int64_t>& values) {
  std::string out = ArrayHeader(values.size(), kInt8Oid);
  for (const std::int64_t value : values) {
    AppendInt32(out, sizeof(value));
    AppendInt64(out, value);
  }
  values_.push_back(std::move(out));
  return *this;
}

HotParams& HotParams::BigintArray(const std::vector<std::optional<std::int64_t>>& values) {
  std::string out = ArrayHeader(values.size(), kInt8Oid);
  for (const std::optional<std::int64_t>& value : values) {
    AppendInt32(out, value ? static_cast<std::int32_t>(sizeof(*value)) : -1);
    if (value) AppendInt64(out, *value);
  }
  values_.push_back(std::move(out));
  return *this;
}

HotParams& HotParams::TimestamptzArray(const std::vector<std::optional<absl::Time>>& values) {
  std::string out = ArrayHeader(values.size(), kTimestamptzOid);
  for (const std::optional<absl::Time>& value : values) {
    AppendInt32(out, value ? static_cast<std::int32_t>(sizeof(std::int64_t)) : -1);
    if (value) AppendInt64(out, absl::ToInt64Microseconds(*value - kPostgresEpoch));
  }
  values_.push_back(std::move(out));
  return *this;
}

HotParams& HotParams::ByteaArray(const std::vector<absl::string_view>& values) {
  std::string out = ArrayHeader(values.size(), kByteaOid);
  for (const absl::string_view value : values) {
    AppendInt32(out, static_cast<std::int32_t>(value.size()));
    out.append(value.data(), value.size());
  }
  values_.push_back(std::move(out));
  return *this;
}

HotParams& HotParams::UuidArray(const std::vector<absl::string_view>& values) {
  std::string out = ArrayHeader(values.size(), kUuidOid);
  for (const absl::string_view value : values) {
    const std::string bytes = absl::HexStringToBytes(value);
    AppendInt32(out, static_cast<std::int32_t>(bytes.size()));
    out += bytes;
  }
  values_.push_back(std::move(out));
  return *this;
}

HotParams& HotParams::TextArray(const std::vector<std::optional<absl::string_view>>& values) {
  std::string out = ArrayHeader(values.size(), kTextOid);
  for (const std::optional<absl::string_view>& value : values) {
    AppendInt32(out, value ? static_cast<std::int32_t>(value->size()) : -1);
    if (value) out.append(value->data(), value->size());
  }
  values_.push_back(std::move(out));
  return *this;
}

bool HotResult::IsNull(int row, int column) const {
  return PQgetisnull(result_.get(), row, column) != 0;
}

const char* HotResult::Bytes(int row, int column, int size) const {
  // A type that is not what the code says would be read as garbage for ever after.
  if (PQgetlength(result_.get(), row, column) != size) std::abort();
  return PQgetvalue(result_.get(), row, column);
}

std::int64_t HotResult::Bigint(int row, int column) const {
  std::uint64_t wire = 0;
  std::memcpy(&wire, Bytes(row, column, sizeof(wire)), sizeof(wire));
  return static_cast<std::int64_t>(be64toh(wire));
}

std::int32_t HotResult::Integer(int row, int column) const {
  std::uint32_t wire = 0;
  std::memcpy(&wire, Bytes(row, column, sizeof(wire)), sizeof(wire));
  return static_cast<std::int32_t>(be32toh(wire));
}

bool HotResult::Boolean(int row, int column) const { return *Bytes(row, column, 1) != '\0'; }

absl::Time HotResult::Timestamptz(int row, int column) const {
  return kPostgresEpoch + absl::Microseconds(Bigint(row, column));
}

absl::string_view HotResult::Text(int row, int column) const {
  return {PQgetvalue(result_.get(), row, column),
          static_cast<std::size_t>(PQgetlength(result_.get(), row, column))};
}

absl::StatusOr<std::unique_ptr<HotConnection>> HotConnection::Connect(const Dsn& dsn,
                                                                      const HotOptions& options) {
  PARLEY_ASSIGN_OR_RETURN(std::unique_ptr<Session> session, Session::Connect(dsn));
  const std::string set = absl::StrCat(
      "SET lock_timeout = ", absl::ToInt64Milliseconds(options.lock_timeout),
      options.synchronous_commit ? "; " : "; SET synchronous_commit = off; ", kHotSettings);
  std::string preamble;
  if (dsn.pooler() == Pooler::kTransaction) {
    preamble = ForTheTransaction(set);
  } else {
    PARLEY_RETURN_IF_ERROR(session->Command(set.c_str()));
  }
  return std::unique_ptr<HotConnection>(new HotConnection(std::move(session), std::move(preamble)));
}

HotConnection::HotConnection(std::unique_ptr<Session> session, std::string preamble)
    : session_(std::move(session)), preamble_(std::move(preamble)) {
  PQsetnonblocking(conn(), 1);
}

PGconn* HotConnection::conn() const { return session_->connection(); }

bool HotConnection::LooksAlive() { return session_->LooksAlive(); }

absl::Status HotConnection::Lost() {
  usable_ = false;
  return StatusFromSqlState("", "hot lane");
}

absl::StatusOr<const char*> HotConnection::Prepare(const Statement& statement,
                                                   absl::Time deadline) {
  if (!preamble_.empty()) return nullptr;
  std::string& name = prepared_[&statement];
  if (!name.empty()) return name.c_str();
  const std::string new_name(statement.name);
  if (PQsendPrepare(conn(), new_name.c_str(), statement.sql, 0, nullptr) == 0) return Lost();
  bool prepared = true;
  while (true) {
    PARLEY_ASSIGN_OR_RETURN(PGresult * raw, NextResult(deadline));
    if (raw == nullptr) break;
    const HotResult result(raw);
    prepared = prepared && result.ok();
  }
  if (PQstatus(conn()) != CONNECTION_OK) return Lost();
  if (!prepared) {
    usable_ = false;
    return InternalError(absl::StrCat("cannot prepare ", statement.name));
  }
  name = new_name;
  return name.c_str();
}

absl::Status HotConnection::Send(const std::vector<HotStep>& steps, absl::Time deadline) {
  refused_ = true;  // until something is sent, surely nothing is written
  std::vector<const char*> names;
  names.reserve(steps.size());
  for (const HotStep& step : steps) {
    PARLEY_ASSIGN_OR_RETURN(const char* name, Prepare(*step.statement, deadline));
    names.push_back(name);
  }
  refused_ = false;
  if (PQenterPipelineMode(conn()) == 0) return Lost();
  if (!preamble_.empty() && PQsendQueryParams(conn(), preamble_.c_str(), 0, nullptr, nullptr,
                                              nullptr, nullptr, kBinary) == 0) {
    return Lost();
  }
  for (std::size_t i = 0; i < steps.size(); ++i) {
    PARLEY_RETURN_IF_ERROR(SendStep(steps[i], names[i]));
  }
  // Also tries to write it all; what is left is written by Receive.
  return PQpipelineSync(conn()) == 1 ? absl::OkStatus() : Lost();
}

absl::Status HotConnection::SendStep(const HotStep& step, const char* name) {
  const std::vector<std::string>& params = step.params.values();
  std::vector<const char*> values;
  std::vector<int> lengths;
  const std::vector<int> formats(params.size(), kBinary);
  for (const std::string& param : params) {
    values.push_back(param.data());
    lengths.push_back(static_cast<int>(param.size()));
  }
  const int count = static_cast<int>(params.size());
  const int sent = name != nullptr
                       ? PQsendQueryPrepared(conn(), name, count, values.data(), lengths.data(),
                                             formats.data(), kBinary)
                       : PQsendQueryParams(conn(), step.statement->sql, count, nullptr,
                                           values.data(), lengths.data(), formats.data(), kBinary);
  return sent == 1 ? absl::OkStatus() : Lost();
}

absl::Status HotConnection::WaitForInput(absl::Time deadline) {
  const int unsent = PQflush(conn());
  if (unsent < 0) return Lost();
  const short events = static_cast<short>(unsent > 0 ? POLLIN | POLLOUT : POLLIN);
  pollfd socket{PQsocket(conn()), events, 0};
  const absl::Duration left = deadline - SteadyNow();
  const std::int64_t left_ms = std::clamp<std::int64_t>(absl::ToInt64Milliseconds(left), 0, 60'000);
  const int ready = poll(&socket, 1, static_cast<int>(left_ms));
  if (ready == 0 && SteadyNow() >= deadline) return Lost();  // the server has fallen silent
  if (ready > 0 && (socket.revents & (POLLIN | POLLERR | POLLHUP)) != 0) {
    if (PQconsumeInput(conn()) == 0) return Lost();
  }
  return absl::OkStatus();
}

absl::StatusOr<PGresult*> HotConnection::NextResult(absl::Time deadline) {
  while (PQisBusy(conn()) != 0) PARLEY_RETURN_IF_ERROR(WaitForInput(deadline));
  return PQgetResult(conn());
}

absl::Status HotConnection::FromResult(const PGresult* result, const Statement& statement) {
  if (PQstatus(conn()) != CONNECTION_OK) return Lost();
  const char* sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  absl::Status status = StatusFromSqlState(sqlstate == nullptr ? "" : sqlstate, statement.name);
  const absl::string_view code = sqlstate == nullptr ? "" : sqlstate;
  // 57P: the server is going down, and who was to hear of the commit may not.
  refused_ = !code.empty() && !absl::StartsWith(code, "57P") && !absl::StartsWith(code, "08");
  // 0A000: the plan no longer fits the tables; 26000: the statement is not there any more.
  if (IsConnectionLost(status) || code == "0A000" || code == "26000") usable_ = false;
  return status;
}

absl::Status HotConnection::Run(const std::vector<HotStep>& steps, absl::Time deadline,
                                const OnResult& on_result) {
  PARLEY_RETURN_IF_ERROR(Send(steps, deadline));
  return Receive(steps, deadline, on_result);
}

absl::Status HotConnection::Receive(const std::vector<HotStep>& steps, absl::Time deadline,
                                    const OnResult& on_result) {
  absl::Status first_error;
  std::size_t step = 0;
  bool is_preamble = !preamble_.empty();
  while (true) {
    PARLEY_ASSIGN_OR_RETURN(PGresult * raw, NextResult(deadline));
    if (raw == nullptr) {  // the end of a step, or of the connection
      if (PQstatus(conn()) != CONNECTION_OK) return Lost();
      if (!std::exchange(is_preamble, false)) ++step;
      continue;
    }
    HotResult result(raw);
    const ExecStatusType kind = PQresultStatus(raw);
    if (kind == PGRES_PIPELINE_SYNC) break;
    if (kind == PGRES_TUPLES_OK || kind == PGRES_COMMAND_OK) {
      if (!is_preamble) on_result(step, std::move(result));
    } else if (kind != PGRES_PIPELINE_ABORTED && first_error.ok()) {
      // The commit, if it is what failed, comes after the last step.
      first_error = FromResult(raw, *steps[std::min(step, steps.size() - 1)].statement);
      if (!usable_) return first_error;
    }
  }
  if (PQexitPipelineMode(conn()) == 0) return Lost();
  return first_error;
}

absl::Status EnsureConnected(const Dsn& dsn, const HotOptions& options,
                             std::unique_ptr<HotConnection>& connection) {
  if (connection != nullptr && connection->usable() && connection->LooksAlive()) {
    return absl::OkStatus();
  }
  connection.reset();
  PARLEY_ASSIGN_OR_RETURN(connection, HotConnection::Connect(dsn, options));
  return absl::OkStatus();
}

}  // namespace parley::db
