// goose reads lines: "-- +goose X" at the beginning of one is an order, and outside StatementBegin
// and StatementEnd a statement ends with a line that ends with a semicolon, in a string or not.
#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "db/migrator/lint_rules.h"

namespace parley::db {
namespace {

// "Up" for "-- +goose Up"; empty for another line.
absl::string_view GooseOrder(absl::string_view line) {
  if (!absl::ConsumePrefix(&line, "--")) return {};
  line = absl::StripAsciiWhitespace(line);
  return absl::ConsumePrefix(&line, "+goose ") ? line : absl::string_view();
}

bool EndsForGoose(absl::string_view line) {
  std::size_t comment = line.find("--");
  while (comment != absl::string_view::npos && comment > 0 &&
         !absl::ascii_isspace(static_cast<unsigned char>(line[comment - 1]))) {
    comment = line.find("--", comment + 1);
  }
  return absl::EndsWith(absl::StripTrailingAsciiWhitespace(line.substr(0, comment)), ";");
}

class MarkerReader {
 public:
  MarkerReader(const Migration& migration, std::span<const absl::string_view> lines,
               const std::function<void(const LineFinding&)>& report)
      : migration_(migration), lines_(lines), report_(report) {}

  void Run() {
    bool is_open = false;
    for (std::size_t at = 0; at < lines_.size(); ++at) {
      const absl::string_view order = GooseOrder(lines_[at]);
      const auto line = static_cast<std::int32_t>(at + 1);
      if (order.empty()) continue;
      if (order == "Up" || order == "Down") {
        ExpectBehindMarker(order, line);
      } else if (order == "NO TRANSACTION") {
        has_no_transaction_ = true;
      } else if (order == "StatementBegin" || order == "StatementEnd") {
        const bool begins = order == "StatementBegin";
        if (begins == is_open) {
          Report(line,
                 absl::StrCat("\"+goose ", order, "\" where none can be: they come in pairs"));
        }
        is_open = begins;
      } else {
        Report(line, absl::StrCat("\"+goose ", order, "\" is not of this format"));
      }
    }
    if (is_open) Report(migration_.down.line - 1, "a \"+goose StatementBegin\" without its end");
    Expect(has_up_, migration_.up, "Up");
    Expect(has_down_, migration_.down, "Down");
    CheckTransaction();
  }

 private:
  void ExpectBehindMarker(absl::string_view order, std::int32_t line) {
    const bool is_up = order == "Up";
    const Section& section = is_up ? migration_.up : migration_.down;
    (is_up ? has_up_ : has_down_) = true;
    if (line == section.line) return;
    Report(line, absl::StrCat("\"-- +goose ", order, "\" belongs on the line after \"-- migrate:",
                              absl::AsciiStrToLower(order), "\""));
  }

  void Expect(bool is_there, const Section& section, absl::string_view order) {
    if (is_there) return;
    Report(section.line - 1, absl::StrCat("goose cannot read the file without \"-- +goose ", order,
                                          "\" on the next line"));
  }

  void CheckTransaction() {
    const bool is_wanted = !migration_.up.is_transactional || !migration_.down.is_transactional;
    if (is_wanted && !has_no_transaction_) {
      Report(migration_.up.line - 1,
             "goose runs transaction:false in a transaction without \"-- +goose NO TRANSACTION\" "
             "above");
    } else if (!is_wanted && has_no_transaction_) {
      Report(migration_.up.line - 1,
             "\"-- +goose NO TRANSACTION\", but transaction:false is in neither marker");
    }
  }

  void Report(std::int32_t line, std::string message) {
    report_({line, "goose-markers", std::move(message)});
  }

  const Migration& migration_;
  const std::span<const absl::string_view> lines_;
  const std::function<void(const LineFinding&)>& report_;
  bool has_up_ = false;
  bool has_down_ = false;
  bool has_no_transaction_ = false;
};

}  // namespace

void FindGooseFaults(const Migration& migration, std::span<const absl::string_view> lines,
                     const std::function<void(const LineFinding&)>& report) {
  MarkerReader(migration, lines, report).Run();
}

void FindGooseCuts(const LintSection& section, std::span<const absl::string_view> lines,
                   const LintReport& report) {
  const auto begin = static_cast<std::size_t>(section.section.line - 1);
  const std::string& sql = section.section.sql;
  // Of the section's lines: where goose ends a statement.
  std::vector<bool> ends;
  bool is_whole = false;
  const auto count = static_cast<std::size_t>(std::count(sql.begin(), sql.end(), '\n'));
  for (std::size_t at = begin; at < std::min(begin + count, lines.size()); ++at) {
    const absl::string_view order = GooseOrder(lines[at]);
    if (order == "StatementBegin") is_whole = true;
    if (order == "StatementEnd") is_whole = false;
    ends.push_back(order == "StatementEnd" || (!is_whole && EndsForGoose(lines[at])));
  }
  const auto line_of = [&sql](std::size_t offset) {
    return static_cast<std::size_t>(
        std::count(sql.begin(), sql.begin() + static_cast<std::ptrdiff_t>(offset), '\n'));
  };
  for (const SqlStatement& statement : section.statements) {
    const std::size_t last = line_of(statement.offset + statement.text.size());
    for (std::size_t at = line_of(statement.offset); at < last; ++at) {
      if (!ends[at]) continue;
      report({statement, statement.tokens.front(), "goose-statement",
              absl::StrCat("goose ends this statement with line ", begin + at + 1,
                           "; \"-- +goose StatementBegin\" and StatementEnd on lines of their own "
                           "around it")});
      break;
    }
    const bool is_last = &statement == &section.statements.back();
    if (is_last && std::find(ends.begin() + static_cast<std::ptrdiff_t>(last), ends.end(), true) ==
                       ends.end()) {
      report({statement, statement.tokens.front(), "goose-statement",
              "goose does not find the end of this statement; a semicolon at the end of its last "
              "line"});
    }
  }
}

}  // namespace parley::db
