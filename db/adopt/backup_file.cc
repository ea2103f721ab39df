#include "db/adopt/backup_file.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <set>
#include <system_error>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"
#include "db/adopt/original_schema.h"

extern char** environ;

namespace parley::adopt {
namespace {

absl::Status Missing(const std::string& path, const std::set<std::string>& tables) {
  if (tables.empty()) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "--backup: ", path, " has no rows of ", absl::StrJoin(tables, ", "),
      "; take a backup of the whole database, such as pg_dump --format=custom --file=FILE"));
}

std::set<std::string> AllTables() {
  std::set<std::string> tables;
  for (const char* table : kOriginalTables) tables.insert(absl::StrCat("public.", table));
  return tables;
}

// Takes out of `tables` the one whose rows the line begins.
void StrikeOut(absl::string_view line, std::set<std::string>& tables) {
  if (!absl::StartsWith(line, "COPY ") && !absl::StartsWith(line, "INSERT INTO ")) return;
  for (auto table = tables.begin(); table != tables.end(); ++table) {
    if (absl::StartsWith(line, absl::StrCat("COPY ", *table, " ")) ||
        absl::StartsWith(line, absl::StrCat("INSERT INTO ", *table, " "))) {
      tables.erase(table);
      return;
    }
  }
}

absl::Status CheckPlainText(const std::string& path, std::ifstream& stream) {
  std::set<std::string> tables = AllTables();
  bool is_complete = false;
  for (std::string line; std::getline(stream, line);) {
    StrikeOut(line, tables);
    is_complete = is_complete || line == "-- PostgreSQL database dump complete";
  }
  if (!is_complete) {
    return absl::FailedPreconditionError(
        absl::StrCat("--backup: ", path, " is cut off: pg_dump did not come to its end"));
  }
  return Missing(path, tables);
}

// What pg_restore prints with these arguments.
absl::StatusOr<std::string> RunPgRestore(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "pg_restore");
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  std::array<int, 2> pipe_ends{};
  if (pipe2(pipe_ends.data(), O_CLOEXEC) != 0) return absl::InternalError("no pipe");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, pipe_ends[1], 1);
  posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
  pid_t pid = 0;
  const int spawned = posix_spawnp(&pid, "pg_restore", &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(pipe_ends[1]);
  std::string text;
  std::array<char, 65536> buffer{};
  for (ssize_t size = 0;
       spawned == 0 && (size = read(pipe_ends[0], buffer.data(), buffer.size())) > 0;) {
    text.append(buffer.data(), static_cast<std::size_t>(size));
  }
  close(pipe_ends[0]);
  if (spawned != 0) {
    return absl::FailedPreconditionError(
        "--backup: pg_restore, which reads such a file, cannot be run; install PostgreSQL's client "
        "programs, or say --i-have-a-backup");
  }
  int status = 0;
  waitpid(pid, &status, 0);
  if (status != 0)
    return absl::FailedPreconditionError("--backup: pg_restore cannot read the file");
  return text;
}

// The list has lines such as "3350; 0 16390 TABLE DATA public users postgres".
absl::Status CheckArchive(const std::string& path) {
  PARLEY_ASSIGN_OR_RETURN(const std::string list, RunPgRestore({"--list", path}));
  std::set<std::string> tables = AllTables();
  for (const absl::string_view line : absl::StrSplit(list, '\n')) {
    const std::vector<absl::string_view> words = absl::StrSplit(line, ' ');
    if (words.size() >= 7 && words[3] == "TABLE" && words[4] == "DATA") {
      tables.erase(absl::StrCat(words[5], ".", words[6]));
    }
  }
  PARLEY_RETURN_IF_ERROR(Missing(path, tables));
  // The list stands at the beginning: only whoever reads on learns whether the file is whole.
  return RunPgRestore({"--file=/dev/null", path}).status();
}

}  // namespace

absl::Status CheckBackupFile(const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return CheckArchive(path);
  std::ifstream stream(path, std::ios::binary);
  std::string start(5, '\0');
  stream.read(start.data(), static_cast<std::streamsize>(start.size()));
  if (!stream) return absl::NotFoundError(absl::StrCat("--backup: ", path, " cannot be read"));
  stream.seekg(0);
  std::string line;
  for (int lines = 0; lines < 5 && start != "PGDMP" && std::getline(stream, line); ++lines) {
    if (line == "-- PostgreSQL database dump") return CheckPlainText(path, stream);
  }
  return CheckArchive(path);
}

}  // namespace parley::adopt
