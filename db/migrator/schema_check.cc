#include "db/migrator/schema_check.h"

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"
#include "db/migrator/migration_set.h"

namespace parley::db {

absl::Status JudgeSchema(const SchemaState& state) {
  std::vector<absl::string_view> needed;
  for (const Migration* migration : state.pending) {
    if (migration->phase != Phase::kContract) needed.push_back(migration->file_name);
  }
  std::vector<absl::string_view> foreign;
  for (const auto* rows : {&state.missing, &state.ahead}) {
    for (const AppliedMigration& applied : *rows) {
      if (applied.phase != Phase::kExpand) foreign.push_back(applied.version);
    }
  }
  if (needed.empty() && foreign.empty()) return absl::OkStatus();
  const std::string pending = absl::StrJoin(needed, ", ");
  const std::string unknown = absl::StrJoin(foreign, ", ");
  if (foreign.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the database's schema is behind this release: ", pending,
                     " not applied. Run `parley-migrate up`."));
  }
  if (needed.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("the database's schema is ahead: this release does not know ", unknown,
                     ". Start the release that brought it, or a later one."));
  }
  return absl::FailedPreconditionError(absl::StrCat(
      "the database's schema is of another line of releases: this one does not know ", unknown,
      " and needs ", pending, ". `parley-migrate status` lists all; start a release that knows ",
      "both, after its `parley-migrate up`."));
}

absl::Status CheckSchema(Connection& connection) {
  PARLEY_ASSIGN_OR_RETURN(const MigrationSet set, MigrationSet::Embedded());
  PARLEY_ASSIGN_OR_RETURN(const History history, ReadHistory(connection));
  return JudgeSchema(CompareSchema(set, history));
}

}  // namespace parley::db
