#include "db/repository/user_repository.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "base/mutex.h"
#include "tests/support/people.h"
#include "tests/support/run_threads.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_database.h"

namespace parley::db {
namespace {

using absl::StatusCode;
using parley::testing::IsOk;
using parley::testing::NewChat;
using parley::testing::NewUser;
using parley::testing::RunThreads;
using parley::testing::Soon;
using parley::testing::StatusIs;
using parley::testing::TempDatabase;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::UnorderedElementsAre;

class Users : public ::testing::Test {
 protected:
  TempDatabase database_;
  UserRepository users_{database_.pool()};
};

TEST_F(Users, AreReadBackAsTheyWereCreated) {
  const absl::StatusOr<User> created = users_.Create(
      {.login = "Ann", .login_key = "ann", .name = "Ann A.", .password_hash = "hash"}, Soon());
  ASSERT_THAT(created, IsOk());
  const absl::StatusOr<User> read = users_.Get(created->id, Soon());
  ASSERT_THAT(read, IsOk());
  EXPECT_EQ(read->login, "Ann");
  EXPECT_EQ(read->name, "Ann A.");
  EXPECT_EQ(read->status, UserStatus::kActive);
  EXPECT_EQ(read->version, 1);
  EXPECT_EQ(read->create_time, created->create_time);
  EXPECT_LT(absl::AbsDuration(absl::Now() - read->create_time), absl::Minutes(5));
  // To the microsecond, as PostgreSQL keeps it.
  EXPECT_EQ(database_.Sql("SELECT (extract(epoch FROM created_at) * 1000000)::bigint FROM users"),
            std::to_string(absl::ToUnixMicros(read->create_time)));
}

TEST_F(Users, WithoutANameHaveNone) {
  const auto created = users_.Create({.login = "a", .login_key = "a"}, Soon());
  ASSERT_THAT(created, IsOk());
  EXPECT_FALSE(created->name.has_value());
}

TEST_F(Users, HaveLoginsThatDifferWhenFolded) {
  ASSERT_THAT(users_.Create({.login = "Ann", .login_key = "ann"}, Soon()), IsOk());
  EXPECT_THAT(users_.Create({.login = "ANN", .login_key = "ann"}, Soon()),
              StatusIs(StatusCode::kAlreadyExists, reason::kLoginTaken));
  const std::int64_t bob = NewUser(database_.pool(), "bob");
  EXPECT_THAT(users_.Update({.id = bob, .login = "aNN", .login_key = "ann"}, Soon()),
              StatusIs(StatusCode::kAlreadyExists, reason::kLoginTaken));
}

TEST_F(Users, AreCreatedOnceForOneRequestIdFromManyThreads) {
  Mutex mutex;
  std::set<std::int64_t> ids;
  RunThreads(8, [&](int) {
    const auto user = users_.Create(
        {.login = "ann", .login_key = "ann", .request_id = "r", .fingerprint = "f"}, Soon());
    ASSERT_THAT(user, IsOk());
    MutexLock lock(mutex);
    ids.insert(user->id);
  });
  EXPECT_EQ(ids.size(), 1u);
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM users"), "1");
}

TEST_F(Users, RefuseARequestIdWithOtherContent) {
  const UserRepository::CreateParams params{
      .login = "ann", .login_key = "ann", .request_id = "r", .fingerprint = "f"};
  ASSERT_THAT(users_.Create(params, Soon()), IsOk());
  UserRepository::CreateParams other = params;
  other.fingerprint = "g";
  EXPECT_THAT(users_.Create(other, Soon()),
              StatusIs(StatusCode::kAlreadyExists, reason::kRequestIdReused));
}

TEST_F(Users, AreNotCreatedAgainByARequestIdAfterTheyWereDeleted) {
  const UserRepository::CreateParams params{
      .login = "ann", .login_key = "ann", .request_id = "r", .fingerprint = "f"};
  ASSERT_THAT(users_.Delete(users_.Create(params, Soon())->id, Soon()), IsOk());
  EXPECT_THAT(users_.Create(params, Soon()),
              StatusIs(StatusCode::kNotFound, reason::kUserNotFound));
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM users"), "0");
}

TEST_F(Users, ForgetARequestIdWhoseCreateFailed) {
  NewUser(database_.pool(), "ann");
  UserRepository::CreateParams params{
      .login = "ann", .login_key = "ann", .request_id = "r", .fingerprint = "f"};
  EXPECT_THAT(users_.Create(params, Soon()),
              StatusIs(StatusCode::kAlreadyExists, reason::kLoginTaken));
  params.login = params.login_key = params.fingerprint = "bob";
  EXPECT_THAT(users_.Create(params, Soon()), IsOk());
}

TEST_F(Users, AreListedByIdPageAfterPage) {
  std::vector<std::int64_t> ids;
  for (const char* login : {"a", "b", "c", "d", "e"}) {
    ids.push_back(NewUser(database_.pool(), login));
  }
  const auto first = users_.List({.limit = 2}, std::nullopt, Soon());
  ASSERT_THAT(first, IsOk());
  EXPECT_THAT(first->rows, ElementsAre(Field(&User::id, ids[0]), Field(&User::id, ids[1])));
  const auto second = users_.List({.limit = 2, .after = first->next}, std::nullopt, Soon());
  EXPECT_THAT(second->rows, ElementsAre(Field(&User::id, ids[2]), Field(&User::id, ids[3])));
  const auto last = users_.List({.limit = 2, .after = second->next}, std::nullopt, Soon());
  EXPECT_THAT(last->rows, ElementsAre(Field(&User::id, ids[4])));
  EXPECT_FALSE(last->next.has_value());
  const auto skipped = users_.List({.limit = 2, .offset = 3}, std::nullopt, Soon());
  EXPECT_THAT(skipped->rows, ElementsAre(Field(&User::id, ids[3]), Field(&User::id, ids[4])));
}

TEST_F(Users, AreFoundByStatusAndByPrefix) {
  for (const char* login : {"ann", "anna", "bob", "an", "日本"}) NewUser(database_.pool(), login);
  const auto page = users_.ListByLogin({.limit = 10}, "an", std::nullopt, Soon());
  ASSERT_THAT(page, IsOk());
  EXPECT_THAT(page->rows, ElementsAre(Field(&User::login, "an"), Field(&User::login, "ann"),
                                      Field(&User::login, "anna")));
  const auto rest =
      users_.ListByLogin({.limit = 10, .after = std::string("an")}, "an", std::nullopt, Soon());
  EXPECT_EQ(rest->rows.size(), 2u);
  EXPECT_EQ(users_.ListByLogin({.limit = 10}, "日", std::nullopt, Soon())->rows.size(), 1u);
  const std::int64_t bob = users_.GetByLogin("bob", Soon())->id;
  ASSERT_THAT(users_.Update({.id = bob, .status = UserStatus::kBlocked}, Soon()), IsOk());
  EXPECT_THAT(users_.List({.limit = 10}, UserStatus::kBlocked, Soon())->rows,
              ElementsAre(Field(&User::login, "bob")));
  EXPECT_EQ(users_.ListByLogin({.limit = 10}, "b", UserStatus::kActive, Soon())->rows.size(), 0u);
}

TEST_F(Users, AreFoundByIds) {
  const std::int64_t ann = NewUser(database_.pool(), "ann");
  const std::int64_t bob = NewUser(database_.pool(), "bob");
  const auto found = users_.BatchGet({bob, 999, ann}, Soon());
  ASSERT_THAT(found, IsOk());
  EXPECT_THAT(*found, UnorderedElementsAre(Field(&User::id, ann), Field(&User::id, bob)));
}

TEST_F(Users, ChangeOnlyWhatIsSaidAndOnlyAtTheRightVersion) {
  const std::int64_t id = NewUser(database_.pool(), "ann");
  const auto named =
      users_.Update({.id = id, .set_name = true, .name = "Ann", .version = 1}, Soon());
  ASSERT_THAT(named, IsOk());
  EXPECT_EQ(named->login, "ann");
  EXPECT_EQ(named->name, "Ann");
  EXPECT_EQ(named->version, 2);
  EXPECT_THAT(users_.Update({.id = id, .set_name = true, .version = 1}, Soon()),
              StatusIs(StatusCode::kAborted, reason::kEtagMismatch));
  const auto repeated = users_.Update({.id = id, .set_name = true, .name = "Ann"}, Soon());
  EXPECT_EQ(repeated->version, 2);
  EXPECT_EQ(repeated->update_time, named->update_time);
  EXPECT_FALSE(users_.Update({.id = id, .set_name = true}, Soon())->name.has_value());
  EXPECT_THAT(users_.Update({.id = 999}, Soon()),
              StatusIs(StatusCode::kNotFound, reason::kUserNotFound));
}

TEST_F(Users, KeepThePasswordHashApart) {
  const std::int64_t id = NewUser(database_.pool(), "ann");
  EXPECT_EQ(users_.GetCredentials("ann", Soon()).value()->password_hash, std::nullopt);
  ASSERT_THAT(users_.SetPassword(id, "hash", Soon()), IsOk());
  EXPECT_EQ(users_.GetCredentials("ann", Soon()).value()->password_hash, "hash");
  EXPECT_FALSE(users_.GetCredentials("nobody", Soon()).value().has_value());
  EXPECT_THAT(users_.SetPassword(999, "hash", Soon()),
              StatusIs(StatusCode::kNotFound, reason::kUserNotFound));
}

TEST_F(Users, HaveTheirLegacyPasswordReplacedOnce) {
  const std::int64_t id = NewUser(database_.pool(), "ann");
  database_.Sql("INSERT INTO legacy_passwords SELECT id, 'plain', false FROM users");
  EXPECT_EQ(users_.GetCredentials("ann", Soon()).value()->legacy_password, std::nullopt);
  EXPECT_EQ(users_.ReplaceLegacyPassword(id, "hash", Soon()).value(), false);
  database_.Sql("UPDATE legacy_passwords SET accepted = true");
  EXPECT_EQ(users_.GetCredentials("ann", Soon()).value()->legacy_password, "plain");
  EXPECT_EQ(users_.ReplaceLegacyPassword(id, "hash", Soon()).value(), true);
  EXPECT_EQ(users_.ReplaceLegacyPassword(id, "hash 2", Soon()).value(), false);
  const auto credentials = users_.GetCredentials("ann", Soon()).value();
  EXPECT_EQ(credentials->password_hash, "hash");
  EXPECT_EQ(credentials->legacy_password, std::nullopt);
  EXPECT_EQ(credentials->user.version, 1);
}

TEST_F(Users, GoWithTheirLegacyPasswords) {
  const std::int64_t id = NewUser(database_.pool(), "ann");
  database_.Sql("INSERT INTO legacy_passwords SELECT id, 'plain', true FROM users");
  ASSERT_THAT(users_.Delete(id, Soon()), IsOk());
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM legacy_passwords"), "0");
}

TEST_F(Users, TakeTheirMembershipsWithThem) {
  const std::int64_t ann = NewUser(database_.pool(), "ann");
  const std::int64_t bob = NewUser(database_.pool(), "bob");
  const std::int64_t chat = NewChat(database_.pool(), {ann, bob});
  ASSERT_THAT(users_.Delete(bob, Soon()), IsOk());
  ChatRepository chats(database_.pool());
  EXPECT_EQ(chats.Get(chat, Soon())->user_count, 1);
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM chat_user"), "1");
  EXPECT_THAT(users_.Delete(bob, Soon()), StatusIs(StatusCode::kNotFound, reason::kUserNotFound));
}

}  // namespace
}  // namespace parley::db
