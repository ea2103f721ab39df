#include "db/migrator/concurrent_section.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/status_macros.h"
#include "db/migrator/problem.h"
#include "db/migrator/section_runner.h"
#include "db/migrator/sql_text.h"

namespace parley::db {
namespace {

// CREATE or DROP INDEX CONCURRENTLY, and which index that is.
struct IndexStatement {
  bool creates = false;
  std::string index;  // CREATE: its bare name; DROP: as written, perhaps with a schema
  std::string table;  // CREATE: as written, perhaps with a schema
};

// The name as the catalog has it.
std::string CatalogName(const SqlToken& token) {
  if (token.kind != SqlToken::Kind::kName) return absl::AsciiStrToLower(token.text);
  return absl::StrReplaceAll(token.text.substr(1, token.text.size() - 2), {{"\"\"", "\""}});
}

// A name that may have a schema: "a.b". Moves `at` behind it.
std::string QualifiedName(const std::vector<SqlToken>& tokens, std::size_t& at) {
  std::string name;
  while (at < tokens.size()) {
    absl::StrAppend(&name, tokens[at++].text);
    if (at >= tokens.size() || !Is(tokens[at], ".")) break;
    absl::StrAppend(&name, ".");
    ++at;
  }
  return name;
}

std::optional<IndexStatement> ParseIndexStatement(const SqlStatement& statement) {
  const std::vector<SqlToken>& tokens = statement.tokens;
  IndexStatement parsed;
  std::size_t at = 0;
  if (Matches(tokens, 0, {"DROP", "INDEX", "CONCURRENTLY"})) {
    at = Matches(tokens, 3, {"IF", "EXISTS"}) ? 5 : 3;
    parsed.index = QualifiedName(tokens, at);
    return parsed;
  }
  if (Matches(tokens, 0, {"CREATE", "INDEX", "CONCURRENTLY"})) at = 3;
  if (Matches(tokens, 0, {"CREATE", "UNIQUE", "INDEX", "CONCURRENTLY"})) at = 4;
  if (at == 0) return std::nullopt;
  if (Matches(tokens, at, {"IF", "NOT", "EXISTS"})) at += 3;
  // An index whose name PostgreSQL chooses cannot be found again.
  if (at >= tokens.size() || Matches(tokens, at, {"ON"})) return std::nullopt;
  parsed.creates = true;
  parsed.index = CatalogName(tokens[at++]);
  if (!Matches(tokens, at, {"ON"})) return std::nullopt;
  ++at;
  if (Matches(tokens, at, {"ONLY"})) ++at;
  parsed.table = QualifiedName(tokens, at);
  return parsed;
}

class OutsideRunner {
 public:
  OutsideRunner(Connection& connection, const OutsideTransaction& params)
      : connection_(connection), params_(params) {}

  absl::Status Run() {
    PARLEY_RETURN_IF_ERROR(EnsureHistory());
    PARLEY_ASSIGN_OR_RETURN(const std::vector<SqlStatement> statements,
                            SplitStatements(params_.section.sql));
    index_ = ParseIndexStatement(statements.front());
    PARLEY_ASSIGN_OR_RETURN(const bool is_interrupted, IsInterrupted());
    PARLEY_ASSIGN_OR_RETURN(const State state, ReadState());
    if (is_interrupted) {
      if (!index_.has_value()) {
        return InterruptedError({params_.migration.version, params_.direction});
      }
      if (state == (index_->creates ? State::kValid : State::kAbsent)) return TakeAsDone();
    } else {
      PARLEY_RETURN_IF_ERROR(
          connection_.Execute(BeginLogSql(params_.migration, params_.direction)));
    }
    if (state == State::kInvalid && index_->creates) PARLEY_RETURN_IF_ERROR(DropInvalid());
    return RunStatement();
  }

 private:
  enum class State { kAbsent, kInvalid, kValid };

  absl::Status EnsureHistory() {
    return connection_.Execute(absl::StrCat("BEGIN;\n", EnsureHistorySql(), "COMMIT;"));
  }

  absl::StatusOr<bool> IsInterrupted() {
    PARLEY_ASSIGN_OR_RETURN(const History history, ReadHistory(connection_));
    return std::any_of(history.interrupted.begin(), history.interrupted.end(),
                       [this](const Interrupted& interrupted) {
                         return interrupted.version == params_.migration.version &&
                                interrupted.direction == params_.direction;
                       });
  }

  absl::StatusOr<State> ReadState() {
    if (!index_.has_value()) return State::kAbsent;
    const std::string condition =
        index_->creates
            ? absl::StrCat("i.indrelid = pg_catalog.to_regclass(",
                           connection_.QuoteLiteral(index_->table),
                           ") AND c.relname = ", connection_.QuoteLiteral(index_->index))
            : absl::StrCat("c.oid = pg_catalog.to_regclass(",
                           connection_.QuoteLiteral(index_->index), ")");
    PARLEY_ASSIGN_OR_RETURN(
        const Result row,
        connection_.Query(absl::StrCat("SELECT i.indisvalid, c.oid::regclass::text"
                                       " FROM pg_catalog.pg_index i"
                                       " JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid WHERE ",
                                       condition)));
    if (PQntuples(row.get()) == 0) return State::kAbsent;
    found_index_ = std::string(FieldOf(row, 0, 1));
    return FieldOf(row, 0, 0) == "t" ? State::kValid : State::kInvalid;
  }

  absl::Status TakeAsDone() {
    Report("recorded", absl::StrCat(params_.migration.file_name,
                                    " was interrupted after its statement took effect"));
    return Record();
  }

  // What an interrupted build leaves slows down writes and serves no reader.
  absl::Status DropInvalid() {
    Report("repaired", absl::StrCat("dropping ", found_index_,
                                    ", which is INVALID: its building was interrupted"));
    return connection_.Execute(absl::StrCat("DROP INDEX CONCURRENTLY ", found_index_));
  }

  absl::Status RunStatement() {
    // These statements lock nobody out while they wait for others, so they may wait as long as it
    // takes. The session is reset afterwards.
    PARLEY_RETURN_IF_ERROR(connection_.Execute(
        "SET lock_timeout = 0; SET statement_timeout = 0; SET client_encoding = 'UTF8'"));
    const Result result = connection_.RunWatched(params_.section.sql, absl::Milliseconds(500),
                                                 [this] { params_.look(); });
    if (Succeeded(result)) return Record();
    if (connection_.IsLost()) {
      return absl::UnavailableError(
          absl::StrCat(params_.migration.file_name,
                       ": the connection was lost; running `parley-migrate` again finds out what "
                       "became of the statement. ",
                       ErrorTextOf(result)));
    }
    return Failed(result);
  }

  absl::Status Failed(const Result& result) {
    const std::string place = PlaceOf(params_.migration, params_.section, result);
    std::string text = absl::StrCat(place, ": ", ErrorTextOf(result));
    if (index_.has_value() && index_->creates) {
      PARLEY_ASSIGN_OR_RETURN(const State state, ReadState());
      if (state == State::kInvalid) PARLEY_RETURN_IF_ERROR(DropInvalid());
    }
    PARLEY_RETURN_IF_ERROR(connection_.Execute(
        CloseLogSql(params_.migration.version, connection_.QuoteLiteral(ErrorTextOf(result)))));
    return absl::AbortedError(absl::StrCat(text, "\nNothing of this file was kept. ",
                                           AdviceFor(SqlStateOf(result), params_.direction)));
  }

  absl::Status Record() {
    return connection_.Execute(
        absl::StrCat("BEGIN;\n", EndLogSql(params_.migration, params_.direction), "COMMIT;"));
  }

  void Report(std::string event, std::string text) {
    params_.report(
        {.event = std::move(event), .text = std::move(text), .migration = &params_.migration});
  }

  Connection& connection_;
  const OutsideTransaction& params_;
  std::optional<IndexStatement> index_;
  std::string found_index_;  // as SQL names it
};

}  // namespace

absl::Status InterruptedError(const Interrupted& interrupted) {
  return ProblemError(
      Problem::kDirty,
      absl::StrCat("migration ", interrupted.version, " (", DirectionName(interrupted.direction),
                   ") was interrupted outside a transaction, and it is not known whether its "
                   "statement took effect. Look: if it did, `parley-migrate repair --done ",
                   interrupted.version, "` records it; if not, `parley-migrate repair --undone ",
                   interrupted.version, "` lets it run again."));
}

absl::Status RunOutsideTransaction(Connection& connection, const OutsideTransaction& params) {
  return OutsideRunner(connection, params).Run();
}

}  // namespace parley::db
