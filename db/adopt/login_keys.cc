#include "db/adopt/login_keys.h"

#include <unordered_map>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "base/login.h"
#include "base/status_macros.h"

namespace parley::adopt {
namespace {

using db::FieldOf;
using db::Result;

class KeyReader {
 public:
  explicit KeyReader(std::int64_t rows_shown) : rows_shown_(rows_shown) {}

  void Read(std::int64_t id, absl::string_view login) {
    Violations violations;
    std::string key = CheckNewLogin("login", login, violations);
    if (!violations.empty()) Refuse(id, login, violations);
    if (key != login) folded_.emplace_back(id, key);
    if (const auto [first, is_new] = first_by_key_.try_emplace(std::move(key), id, login);
        !is_new) {
      Collide(id, login, first->second);
    }
  }

  LoginKeys Take() && {
    LoginKeys keys{.folded = std::move(folded_)};
    if (refused_.count > 0) keys.findings.push_back(std::move(refused_));
    if (colliding_.count > 0) keys.findings.push_back(std::move(colliding_));
    return keys;
  }

 private:
  void Refuse(std::int64_t id, absl::string_view login, const Violations& violations) {
    const std::string why =
        absl::StrJoin(DetailsOf(violations.ToStatus()).violations, "; ",
                      [](std::string* out, const std::pair<std::string, std::string>& violation) {
                        absl::StrAppend(out, violation.second);
                      });
    Count(refused_, absl::StrCat("user ", id, " '", login, "': ", why));
  }

  void Collide(std::int64_t id, absl::string_view login,
               const std::pair<std::int64_t, std::string>& first) {
    Count(colliding_, absl::StrCat("user ", id, " '", login, "' and user ", first.first, " '",
                                   first.second, "'"));
  }

  void Count(Finding& finding, std::string row) const {
    ++finding.count;
    if (static_cast<std::int64_t>(finding.rows.size()) < rows_shown_) {
      finding.rows.push_back(std::move(row));
    }
  }

  const std::int64_t rows_shown_;
  std::vector<std::pair<std::int64_t, std::string>> folded_;
  std::unordered_map<std::string, std::pair<std::int64_t, std::string>> first_by_key_;
  Finding refused_{.name = "refused-logins",
                   .weight = Weight::kStops,
                   .what = "logins that break the rules of chatd",
                   .advice = "UPDATE public.users SET login = 'another' WHERE id = 1"};
  Finding colliding_{
      .name = "colliding-logins",
      .weight = Weight::kStops,
      .what =
          "logins that are the same as another's: case and the width and composition of characters "
          "make no difference here",
      .advice = "UPDATE public.users SET login = 'another' WHERE id = 1"};
};

}  // namespace

absl::StatusOr<LoginKeys> WorkOutLoginKeys(db::Connection& connection, std::int64_t rows_shown) {
  PARLEY_RETURN_IF_ERROR(
      connection.Execute("DECLARE adopt_logins NO SCROLL CURSOR FOR"
                         " SELECT id, login FROM public.users ORDER BY id"));
  KeyReader reader(rows_shown);
  while (true) {
    PARLEY_ASSIGN_OR_RETURN(const Result batch, connection.Query("FETCH 50000 FROM adopt_logins"));
    const int rows = PQntuples(batch.get());
    if (rows == 0) break;
    for (int row = 0; row < rows; ++row) {
      std::int64_t id = 0;
      if (!absl::SimpleAtoi(FieldOf(batch, row, 0), &id)) {
        return absl::InternalError("public.users has an id that is no number");
      }
      reader.Read(id, FieldOf(batch, row, 1));
    }
  }
  PARLEY_RETURN_IF_ERROR(connection.Execute("CLOSE adopt_logins"));
  return std::move(reader).Take();
}

}  // namespace parley::adopt
