#include "db/migrator/dump.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"
#include "db/migrator/catalog.h"
#include "db/migrator/connection.h"

namespace parley::db {
namespace {

constexpr absl::string_view kTitle =
    "-- The schema as `parley-migrate dump` writes it, to be read. `parley-migrate up` makes it: "
    "this\n"
    "-- has neither privileges, nor the history of migrations, nor the history's daily "
    "partitions.\n";

// A file in memory. Closed at the end.
class MemoryFile {
 public:
  explicit MemoryFile(const char* name) : descriptor_(memfd_create(name, MFD_CLOEXEC)) {}
  ~MemoryFile() { close(descriptor_); }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;

  int descriptor() const { return descriptor_; }

  // All that was written.
  std::string Read() const {
    std::string text;
    std::array<char, 65536> buffer;
    ssize_t got = 0;
    while ((got = pread(descriptor_, buffer.data(), buffer.size(),
                        static_cast<off_t>(text.size()))) > 0) {
      text.append(buffer.data(), static_cast<std::size_t>(got));
    }
    return text;
  }

 private:
  const int descriptor_;
};

// Pointers to the words, and the null that ends them, for as long as the words stay as they are.
std::vector<char*> PointersTo(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  pointers.reserve(words.size() + 1);
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return pointers;
}

// What the process has, in English, and the password.
std::vector<std::string> EnvironmentWith(const std::optional<std::string>& password) {
  std::vector<std::string> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (absl::StartsWith(*variable, "LC_ALL=")) continue;
    if (password && absl::StartsWith(*variable, "PGPASSWORD=")) continue;
    variables.emplace_back(*variable);
  }
  variables.emplace_back("LC_ALL=C");
  if (password) variables.push_back("PGPASSWORD=" + *password);
  return variables;
}

struct Finished {
  int start_error = 0;  // errno; 0: it ran
  bool succeeded = false;
  std::string out;
  std::string err;
};

Finished RunProgram(std::vector<std::string> arguments, std::vector<std::string> environment) {
  const MemoryFile out("out");
  const MemoryFile err("err");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out.descriptor(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err.descriptor(), STDERR_FILENO);
  pid_t pid = 0;
  Finished finished;
  finished.start_error = posix_spawnp(&pid, arguments[0].c_str(), &actions, nullptr,
                                      PointersTo(arguments).data(), PointersTo(environment).data());
  posix_spawn_file_actions_destroy(&actions);
  if (finished.start_error != 0) return finished;
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  finished.succeeded = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  finished.out = out.Read();
  finished.err = err.Read();
  return finished;
}

std::string InstallAdvice(absl::string_view major_version) {
  return absl::StrCat(
      "Install the one of the server's version (on Debian: apt-get install "
      "postgresql-client-",
      major_version, "), or put its directory first in PATH (PATH=/usr/lib/postgresql/",
      major_version, "/bin:$PATH parley-migrate dump).");
}

absl::Status CheckFinished(const Finished& finished, absl::string_view major_version) {
  if (finished.start_error == ENOENT) {
    return absl::NotFoundError(
        absl::StrCat("there is no pg_dump in PATH. ", InstallAdvice(major_version)));
  }
  if (finished.start_error != 0) {
    return absl::InternalError(
        absl::StrCat("pg_dump could not be started: ", std::strerror(finished.start_error)));
  }
  if (finished.succeeded) return absl::OkStatus();
  const absl::string_view said = absl::StripAsciiWhitespace(finished.err);
  if (absl::StrContains(said, "server version mismatch")) {
    return absl::FailedPreconditionError(absl::StrCat("pg_dump is older than the server. ",
                                                      InstallAdvice(major_version), "\n", said));
  }
  return absl::InternalError(absl::StrCat("pg_dump failed: ", said));
}

// What differs between runs or machines. Outside of function bodies only the first and the last
// lines are of this kind.
bool IsIncidental(absl::string_view line) {
  return absl::StartsWith(line, "\\restrict ") || absl::StartsWith(line, "\\unrestrict ") ||
         absl::StartsWith(line, "-- Dumped from database version ") ||
         absl::StartsWith(line, "-- Dumped by pg_dump version ");
}

std::string WithoutIncidentals(absl::string_view dump) {
  std::string kept(kTitle);
  bool skips_blank = false;
  for (const absl::string_view line : absl::StrSplit(dump, '\n')) {
    if (IsIncidental(line)) {
      skips_blank = true;
    } else if (!skips_blank || !line.empty()) {
      absl::StrAppend(&kept, line, "\n");
      skips_blank = false;
    }
  }
  absl::StripTrailingAsciiWhitespace(&kept);
  return absl::StrCat(kept, "\n");
}

}  // namespace

absl::StatusOr<std::string> DumpSchema(const Dsn& dsn) {
  std::vector<std::string> arguments = {"pg_dump",       "--schema-only",
                                        "--no-owner",    "--no-privileges",
                                        "--no-password", "--exclude-schema=original"};
  std::string major_version;
  {
    PARLEY_ASSIGN_OR_RETURN(Connection connection, Connection::Open(dsn.WithDefault(
                                                       "application_name", "parley-migrate")));
    PARLEY_ASSIGN_OR_RETURN(const std::vector<std::string> left_out, ListLeftOut(connection));
    for (const std::string& name : left_out) arguments.push_back("--exclude-table=" + name);
    PARLEY_ASSIGN_OR_RETURN(
        const Result version,
        connection.Query("SELECT current_setting('server_version_num')::integer / 10000"));
    major_version = std::string(FieldOf(version, 0, 0));
  }
  arguments.push_back("--dbname=" + dsn.Without("password").Uri());
  const Finished finished = RunProgram(std::move(arguments), EnvironmentWith(dsn.Find("password")));
  PARLEY_RETURN_IF_ERROR(CheckFinished(finished, major_version));
  return WithoutIncidentals(finished.out);
}

}  // namespace parley::db
