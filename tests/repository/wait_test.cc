#include "db/migrator/wait.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "db/migrator/migrator.h"
#include "db/migrator/problem.h"
#include "tests/repository/empty_database.h"
#include "tests/support/status_matchers.h"

namespace parley::db {
namespace {

using ::parley::testing::EmptyDatabase;
using ::parley::testing::IsOk;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// A port on loopback where nobody listens, as long as it lives.
class SilentPort {
 public:
  SilentPort() : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* any = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(bind(socket_, any, size), 0);
    EXPECT_EQ(getsockname(socket_, any, &size), 0);
    number_ = ntohs(address.sin_port);
  }
  ~SilentPort() { close(socket_); }
  SilentPort(const SilentPort&) = delete;
  SilentPort& operator=(const SilentPort&) = delete;

  std::string number() const { return absl::StrCat(number_); }

 private:
  const int socket_;
  int number_ = 0;
};

TEST(WaitTest, ServerThatAnswersIsThere) {
  const EmptyDatabase database;
  EXPECT_THAT(WaitForServer(database.dsn(), absl::ZeroDuration()), IsOk());
  // Whether one may log in is not the question.
  EXPECT_THAT(WaitForServer(database.dsn().With("password", "wrong"), absl::ZeroDuration()),
              IsOk());
}

TEST(WaitTest, GivesUpOnAServerThatIsNotThereAndSaysWhy) {
  const EmptyDatabase database;
  const SilentPort port;
  const absl::Time start = absl::Now();
  const absl::Status status =
      WaitForServer(database.dsn().With("port", port.number()).With("password", "hunter2"),
                    absl::Milliseconds(300));
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(300));
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("Connection refused"), Not(HasSubstr("hunter2"))));
}

TEST(WaitTest, MigrationsOfAnotherAreWaitedFor) {
  const EmptyDatabase database;
  const MigrationSet set = MigrationSet::Embedded().value();
  const absl::Status pending = WaitForMigrations(database.dsn(), set, absl::ZeroDuration());
  EXPECT_EQ(ProblemOf(pending), Problem::kPending);
  EXPECT_THAT(std::string(pending.message()), HasSubstr("20261101000000_foundation.sql"));

  absl::Status waited = absl::UnknownError("not done");
  {
    const std::jthread waiting(
        [&] { waited = WaitForMigrations(database.dsn(), set, absl::Minutes(1)); });
    EXPECT_THAT(MigrateUp(database.dsn()), IsOk());
  }
  EXPECT_THAT(waited, IsOk());
}

TEST(WaitTest, MigrationsOfADatabaseThatIsYetToBeMadeAreWaitedFor) {
  const EmptyDatabase database;
  const Dsn missing = database.dsn().With("dbname", absl::StrCat(database.name(), "_none"));
  const absl::Status status =
      WaitForMigrations(missing, MigrationSet::Embedded().value(), absl::Milliseconds(100));
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("does not exist"));
}

}  // namespace
}  // namespace parley::db
