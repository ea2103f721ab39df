#include "db/migrator/catalog.h"

#include <algorithm>
#include <cstddef>
#include <functional>
#include <iterator>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"
#include "base/text.h"
#include "db/migrator/catalog_queries.h"

namespace parley::db {
namespace {

using Kind = CatalogDifference::Kind;

constexpr std::size_t kMaxShown = 300;  // bytes of a definition on a line

// Runs `read` in a transaction that sees one state of the catalog, with settings that definitions
// do not depend on.
absl::Status InSnapshot(Connection& connection, const std::function<absl::Status()>& read) {
  PARLEY_RETURN_IF_ERROR(connection.Execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"));
  absl::Status status = connection.Execute(std::string(kCatalogSettingsSql));
  if (status.ok()) status = read();
  if (!connection.IsLost()) connection.Run("ROLLBACK");
  return status;
}

absl::Status ReadObjects(Connection& connection, absl::string_view query, Catalog& catalog) {
  PARLEY_ASSIGN_OR_RETURN(const Result rows,
                          connection.Query(absl::StrCat(kCatalogScopeSql, query)));
  for (int row = 0; row < PQntuples(rows.get()); ++row) {
    CatalogObject& object = catalog[std::string(FieldOf(rows, row, 0))];
    object.parent = std::string(FieldOf(rows, row, 1));
    object.definition = std::string(FieldOf(rows, row, 2));
  }
  return absl::OkStatus();
}

// Those of `names` that `others` has too, in their order.
std::string Common(const std::vector<std::string>& names, const std::vector<std::string>& others) {
  const std::set<std::string> known(others.begin(), others.end());
  std::vector<std::string> common;
  std::copy_if(names.begin(), names.end(), std::back_inserter(common),
               [&](const std::string& name) { return known.contains(name); });
  return absl::StrJoin(common, ", ");
}

// A column too many or too few is told as such, and moves the others.
void CompareOrders(CatalogDifference order, std::vector<CatalogDifference>& differences) {
  const std::vector<std::string> expected = absl::StrSplit(order.expected, '\n');
  const std::vector<std::string> found = absl::StrSplit(order.found, '\n');
  order.expected = Common(expected, found);
  order.found = Common(found, expected);
  if (order.expected != order.found) differences.push_back(std::move(order));
}

// The objects of `some` that `others` lacks, without those that fall with another one.
void ListLacking(const Catalog& some, const Catalog& others, Kind kind,
                 std::vector<CatalogDifference>& differences) {
  for (const auto& [name, object] : some) {
    if (others.contains(name)) continue;
    if (some.contains(object.parent) && !others.contains(object.parent)) continue;
    if (kind == Kind::kUnexpected && absl::StartsWith(name, "extension ")) continue;
    CatalogDifference difference{.kind = kind, .object = name};
    (kind == Kind::kMissing ? difference.expected : difference.found) = object.definition;
    differences.push_back(std::move(difference));
  }
}

// In one line, cut where it is too long to be read.
std::string Shown(absl::string_view definition) {
  std::string text(definition);
  absl::RemoveExtraAsciiWhitespace(&text);
  if (text.size() <= kMaxShown) return text;
  return absl::StrCat(CutText(text, kMaxShown), "...");
}

std::string DescribeChange(absl::string_view expected, absl::string_view found) {
  const std::vector<absl::string_view> expected_lines = absl::StrSplit(expected, '\n');
  const std::vector<absl::string_view> found_lines = absl::StrSplit(found, '\n');
  const std::size_t common = std::min(expected_lines.size(), found_lines.size());
  std::size_t line = 0;
  while (line < common && expected_lines[line] == found_lines[line]) ++line;
  const auto text = [line](const std::vector<absl::string_view>& lines) {
    return line < lines.size() ? Shown(lines[line]) : "its end";
  };
  const bool is_one_line = expected_lines.size() == 1 && found_lines.size() == 1;
  return absl::StrCat(is_one_line ? "" : absl::StrCat("line ", line + 1, " "), "is ",
                      text(found_lines), ", should be ", text(expected_lines));
}

}  // namespace

absl::StatusOr<Catalog> ReadCatalog(Connection& connection) {
  Catalog catalog;
  const absl::Status status = InSnapshot(connection, [&]() -> absl::Status {
    for (const absl::string_view query : CatalogQueries()) {
      PARLEY_RETURN_IF_ERROR(ReadObjects(connection, query, catalog));
    }
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return catalog;
}

absl::StatusOr<std::vector<std::string>> ListLeftOut(Connection& connection) {
  std::vector<std::string> names;
  const absl::Status status = InSnapshot(connection, [&]() -> absl::Status {
    PARLEY_ASSIGN_OR_RETURN(const Result rows,
                            connection.Query(absl::StrCat(kCatalogScopeSql, kLeftOutQuery)));
    for (int row = 0; row < PQntuples(rows.get()); ++row) {
      names.emplace_back(FieldOf(rows, row, 0));
    }
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return names;
}

std::vector<CatalogDifference> CompareCatalogs(const Catalog& expected, const Catalog& found) {
  std::vector<CatalogDifference> differences;
  ListLacking(expected, found, Kind::kMissing, differences);
  ListLacking(found, expected, Kind::kUnexpected, differences);
  for (const auto& [name, object] : expected) {
    const auto other = found.find(name);
    if (other == found.end() || other->second.definition == object.definition) continue;
    CatalogDifference difference{.kind = Kind::kChanged,
                                 .object = name,
                                 .expected = object.definition,
                                 .found = other->second.definition};
    if (absl::StartsWith(name, "order of columns of ")) {
      CompareOrders(std::move(difference), differences);
    } else {
      differences.push_back(std::move(difference));
    }
  }
  return differences;
}

std::string DescribeDifference(const CatalogDifference& difference) {
  const auto describe = [&difference](absl::string_view verdict, absl::string_view text) {
    return absl::StrCat(verdict, difference.object, text.empty() ? "" : ": ", text);
  };
  switch (difference.kind) {
    case Kind::kMissing:
      return describe("missing ", Shown(difference.expected));
    case Kind::kUnexpected:
      return describe("unexpected ", Shown(difference.found));
    case Kind::kChanged:
      break;
  }
  return describe("changed ", DescribeChange(difference.expected, difference.found));
}

}  // namespace parley::db
