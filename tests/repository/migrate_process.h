// parley-migrate as a process.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/repository/empty_database.h"

namespace parley::testing {

// A parley-migrate that was started. Its environment has no PARLEY_DATABASE_URL.
class MigrateProcess {
 public:
  explicit MigrateProcess(const std::vector<std::string>& arguments) {
    std::vector<std::string> words = {PARLEY_MIGRATE_BINARY};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    argv.reserve(words.size() + 1);
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    char* environment[] = {nullptr};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    const int flags = O_WRONLY | O_CREAT | O_APPEND;
    posix_spawn_file_actions_addopen(&actions, 1, OutputPath("stdout").c_str(), flags, 0600);
    posix_spawn_file_actions_addopen(&actions, 2, OutputPath("stderr").c_str(), flags, 0600);
    EXPECT_EQ(posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environment), 0);
    posix_spawn_file_actions_destroy(&actions);
  }
  ~MigrateProcess() {
    if (pid_ > 0) Kill();
  }
  MigrateProcess(const MigrateProcess&) = delete;
  MigrateProcess& operator=(const MigrateProcess&) = delete;

  // The exit code, or -1 if a signal ended it.
  int Wait() {
    int status = 0;
    EXPECT_EQ(waitpid(pid_, &status, 0), pid_);
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  void Kill() {
    kill(pid_, SIGKILL);
    Wait();
  }

  // Valid after Wait.
  std::string Out() const { return Read("stdout"); }
  std::string Err() const { return Read("stderr"); }

 private:
  std::string OutputPath(const std::string& name) const { return directory_.path() + "/" + name; }
  std::string Read(const std::string& name) const {
    std::ifstream stream(OutputPath(name));
    return std::string(std::istreambuf_iterator<char>(stream), {});
  }

  TempDirectory directory_;
  pid_t pid_ = 0;
};

// Commands against a database and a directory of the test's own.
class MigrateProcessTest : public ::testing::Test {
 protected:
  // Runs a command against database_ and directory_ and waits for its end.
  std::unique_ptr<MigrateProcess> Run(std::vector<std::string> arguments, int expected_code) {
    arguments.insert(arguments.end(), Target().begin(), Target().end());
    auto process = std::make_unique<MigrateProcess>(arguments);
    EXPECT_EQ(process->Wait(), expected_code) << process->Out() << process->Err();
    return process;
  }

  const std::vector<std::string>& Target() const { return target_; }

  void WriteMigration(int day, const std::string& up) {
    directory_.Write(absl::StrCat("2026010", day, "000000_step.sql"), MigrationText(up));
  }

  EmptyDatabase database_;
  TempDirectory directory_;
  const std::vector<std::string> target_ = {"--database-url", database_.dsn().Uri(), "--dir",
                                            directory_.path()};
};

}  // namespace parley::testing
