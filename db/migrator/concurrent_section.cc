#include "db/migrator/concurrent_section.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/status_macros.h"
#include "db/migrator/problem.h"
#include "db/migrator/section_runner.h"
#include "db/migrator/session_setup.h"
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
  parsed.creates = true;
  if (at < tokens.size() && !Matches(tokens, at, {"ON"})) parsed.index = CatalogName(tokens[at++]);
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
    PARLEY_ASSIGN_OR_RETURN(const std::vector<SqlStatement> statements,
                            SplitStatements(params_.section.sql));
    index_ = ParseIndexStatement(statements.front());
    if (index_.has_value() && index_->index.empty()) {
      return FileError(params_.migration.file_name, params_.section.line,
                       "an index that is made concurrently needs a name here, to be found again "
                       "after a crash");
    }
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

  // What a build that did not end leaves slows down writes and serves no reader.
  absl::Status DropInvalid() {
    Report("repaired",
           absl::StrCat("dropping ", found_index_, ", which is INVALID: its building did not end"));
    const Connection::Outcome outcome =
        RunWatched(absl::StrCat("DROP INDEX CONCURRENTLY ", found_index_));
    if (Succeeded(outcome.result)) return absl::OkStatus();
    return absl::AbortedError(
        absl::StrCat(found_index_, " cannot be dropped: ", ErrorTextOf(outcome.result)));
  }

  absl::Status RunStatement() {
    // What works concurrently locks nobody out while it waits for others, so it may wait as long as
    // it takes.
    const absl::Duration lock_timeout =
        index_.has_value() ? absl::ZeroDuration() : params_.lock_timeout;
    PARLEY_RETURN_IF_ERROR(connection_.Execute(SessionSettingsSql(lock_timeout)));
    const Connection::Outcome outcome = RunWatched(params_.section.sql);
    if (Succeeded(outcome.result)) return Record();
    if (connection_.IsLost()) {
      return absl::UnavailableError(
          absl::StrCat(params_.migration.file_name,
                       ": the connection was lost; running `parley-migrate` again finds out what "
                       "became of the statement. ",
                       ErrorTextOf(outcome.result)));
    }
    return Failed(outcome);
  }

  Connection::Outcome RunWatched(const std::string& sql) {
    return connection_.RunWatched(sql, absl::Milliseconds(100), [this] { params_.watch.Look(); });
  }

  absl::Status Failed(const Connection::Outcome& outcome) {
    const absl::string_view sqlstate = SqlStateOf(outcome.result);
    const ErrorPlace place = PlaceOf(params_.migration, params_.section, outcome);
    std::string text = absl::StrCat(ToString(place), ": ", ErrorTextOf(outcome.result), "\n");
    PARLEY_ASSIGN_OR_RETURN(const bool left_nothing, HasLeftNothing(sqlstate));
    if (!left_nothing) {
      return WithPlace(
          ProblemError(
              Problem::kDirty,
              absl::StrCat(
                  text, "It may have done a part. ",
                  InterruptedError({params_.migration.version, params_.direction}).message())),
          place);
    }
    PARLEY_RETURN_IF_ERROR(connection_.Execute(CloseLogSql(
        params_.migration.version, connection_.QuoteLiteral(PQresultErrorField(
                                       outcome.result.get(), PG_DIAG_MESSAGE_PRIMARY)))));
    if (!params_.watch.blockers().empty()) absl::StrAppend(&text, params_.watch.blockers(), ". ");
    absl::StrAppend(&text, "Nothing of this file was kept. ",
                    AdviceFor(sqlstate, params_.direction));
    return WithPlace(
        IsLockTrouble(sqlstate) ? ProblemError(Problem::kLocked, text) : absl::AbortedError(text),
        place);
  }

  // After a failure. A statement that did not get its first lock has done nothing either; but one
  // that commits on its way, a procedure or a VACUUM of many tables, may have.
  absl::StatusOr<bool> HasLeftNothing(absl::string_view sqlstate) {
    if (!index_.has_value()) return IsLockTrouble(sqlstate) || absl::StartsWith(sqlstate, "42");
    PARLEY_ASSIGN_OR_RETURN(const State state, ReadState());
    if (!index_->creates) return state == State::kValid;
    if (state == State::kInvalid) PARLEY_RETURN_IF_ERROR(DropInvalid());
    return true;
  }

  absl::Status Record() {
    return connection_.Execute(absl::StrCat(
        "BEGIN READ WRITE;\n", EndLogSql(params_.migration, params_.direction), "COMMIT;"));
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
