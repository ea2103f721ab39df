#include "db/repository/chat_repository.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <vector>

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

class Chats : public ::testing::Test {
 protected:
  std::string Count(const std::string& table) {
    return database_.Sql("SELECT count(*) FROM " + table);
  }

  TempDatabase database_;
  ChatRepository chats_{database_.pool()};
  UserRepository users_{database_.pool()};
  const std::int64_t ann_ = NewUser(database_.pool(), "ann");
  const std::int64_t bob_ = NewUser(database_.pool(), "bob");
};

TEST_F(Chats, AreCreatedWithTheirMembers) {
  const auto chat = chats_.Create({.creator_user_id = ann_,
                                   .title = "Tea",
                                   .description = "at five",
                                   .chat_type = ChatType::kChannel,
                                   .user_ids = {ann_, bob_}},
                                  Soon());
  ASSERT_THAT(chat, IsOk());
  EXPECT_EQ(chat->title, "Tea");
  EXPECT_EQ(chat->description, "at five");
  EXPECT_EQ(chat->chat_type, ChatType::kChannel);
  EXPECT_EQ(chat->creator_user_id, ann_);
  EXPECT_EQ(chat->user_count, 2);
  EXPECT_THAT(chat->users, ElementsAre(Field(&User::id, ann_), Field(&User::id, bob_)));
  const auto members = chats_.ListMembers(chat->id, {.limit = 10}, Soon());
  EXPECT_THAT(members->rows, ElementsAre(Field(&ChatMember::role, ChatRole::kOwner),
                                         Field(&ChatMember::role, ChatRole::kMember)));
}

TEST_F(Chats, AreNotCreatedAtAllWhenAMemberIsUnknown) {
  EXPECT_THAT(
      chats_.Create({.creator_user_id = ann_, .title = "t", .user_ids = {ann_, 999}}, Soon()),
      StatusIs(StatusCode::kNotFound, reason::kUserNotFound));
  EXPECT_EQ(Count("chats"), "0");
  EXPECT_EQ(Count("chat_user"), "0");
}

TEST_F(Chats, NameAllUnknownMembers) {
  const absl::Status status =
      chats_.Create({.creator_user_id = 998, .title = "t", .user_ids = {ann_, 998, 999}}, Soon())
          .status();
  EXPECT_THAT(DetailsOf(status).metadata, ElementsAre(::testing::Pair("user_ids", "998,999")));
}

TEST_F(Chats, AreCreatedOnceForOneRequestIdFromManyThreads) {
  std::atomic<std::int64_t> sum{0};
  RunThreads(8, [&](int) {
    const auto chat = chats_.Create({.creator_user_id = ann_,
                                     .title = "t",
                                     .user_ids = {ann_},
                                     .request_id = "r",
                                     .fingerprint = "f"},
                                    Soon());
    ASSERT_THAT(chat, IsOk());
    sum += chat->id;
  });
  EXPECT_EQ(Count("chats"), "1");
  EXPECT_EQ(std::to_string(sum / 8), database_.Sql("SELECT id FROM chats"));
}

TEST_F(Chats, OfAnotherCreatorMayHaveTheSameRequestId) {
  for (const std::int64_t creator : {ann_, bob_}) {
    EXPECT_THAT(chats_.Create({.creator_user_id = creator,
                               .title = "t",
                               .user_ids = {creator},
                               .request_id = "r",
                               .fingerprint = std::to_string(creator)},
                              Soon()),
                IsOk());
  }
  EXPECT_EQ(Count("chats"), "2");
}

TEST_F(Chats, TakeAMemberOnce) {
  const std::int64_t chat = NewChat(database_.pool(), {ann_});
  RunThreads(8, [&](int) {
    EXPECT_THAT(chats_.AddMember({.chat_id = chat, .user_id = bob_}, Soon()), IsOk());
  });
  EXPECT_EQ(Count("chat_user"), "2");
  EXPECT_EQ(chats_.Get(chat, Soon())->user_count, 2);
}

TEST_F(Chats, LeaveTheRoleOfAMemberAsItIs) {
  const std::int64_t chat = NewChat(database_.pool(), {ann_});
  ASSERT_THAT(
      chats_.AddMember({.chat_id = chat, .user_id = ann_, .role = ChatRole::kMember}, Soon()),
      IsOk());
  EXPECT_EQ(database_.Sql("SELECT role FROM chat_user"), "owner");
}

TEST_F(Chats, DoNotTakeAMemberAgainByTheSameRequestId) {
  const std::int64_t chat = NewChat(database_.pool(), {ann_});
  const ChatRepository::AddMemberParams params{
      .chat_id = chat, .user_id = bob_, .request_id = "r", .fingerprint = "f"};
  ASSERT_THAT(chats_.AddMember(params, Soon()), IsOk());
  ASSERT_THAT(chats_.RemoveMember(chat, bob_, Soon()), IsOk());
  EXPECT_EQ(chats_.AddMember(params, Soon())->user_count, 1);
  ChatRepository::AddMemberParams other = params;
  other.fingerprint = "g";
  EXPECT_THAT(chats_.AddMember(other, Soon()),
              StatusIs(StatusCode::kAlreadyExists, reason::kRequestIdReused));
}

TEST_F(Chats, TakeNoBlockedAndNoUnknownUser) {
  const std::int64_t chat = NewChat(database_.pool(), {ann_});
  ASSERT_THAT(users_.Update({.id = bob_, .status = UserStatus::kBlocked}, Soon()), IsOk());
  EXPECT_THAT(chats_.AddMember({.chat_id = chat, .user_id = bob_}, Soon()),
              StatusIs(StatusCode::kFailedPrecondition, reason::kUserBlocked));
  EXPECT_THAT(chats_.AddMember({.chat_id = chat, .user_id = 999}, Soon()),
              StatusIs(StatusCode::kNotFound, reason::kUserNotFound));
  EXPECT_THAT(chats_.AddMember({.chat_id = 999, .user_id = ann_}, Soon()),
              StatusIs(StatusCode::kNotFound, reason::kChatNotFound));
}

TEST_F(Chats, KeepTheirLastOwner) {
  const std::int64_t chat = NewChat(database_.pool(), {ann_, bob_});
  EXPECT_THAT(chats_.RemoveMember(chat, ann_, Soon()),
              StatusIs(StatusCode::kFailedPrecondition, reason::kLastOwner));
  EXPECT_EQ(chats_.Get(chat, Soon())->user_count, 2);
  EXPECT_EQ(chats_.RemoveMember(chat, bob_, Soon())->user_count, 1);
  EXPECT_EQ(chats_.RemoveMember(chat, bob_, Soon())->user_count, 1);  // no member any more
}

TEST_F(Chats, KeepAnOwnerWhenAllOwnersLeaveAtOnce) {
  const std::int64_t chat = NewChat(database_.pool(), {ann_});
  ASSERT_THAT(
      chats_.AddMember({.chat_id = chat, .user_id = bob_, .role = ChatRole::kOwner}, Soon()),
      IsOk());
  RunThreads(2, [&](int i) { (void)chats_.RemoveMember(chat, i == 0 ? ann_ : bob_, Soon()); });
  EXPECT_EQ(database_.Sql("SELECT count(*) FROM chat_user WHERE role = 'owner'"), "1");
  EXPECT_EQ(chats_.Get(chat, Soon())->user_count, 1);
}

TEST_F(Chats, ChangeOnlyWhatIsSaidAndOnlyAtTheRightVersion) {
  const std::int64_t id = NewChat(database_.pool(), {ann_});
  const auto changed =
      chats_.Update({.id = id, .set_description = true, .description = "d", .version = 1}, Soon());
  ASSERT_THAT(changed, IsOk());
  EXPECT_EQ(changed->title, "chat");
  EXPECT_EQ(changed->description, "d");
  EXPECT_EQ(changed->version, 2);
  EXPECT_EQ(chats_.Update({.id = id, .title = "chat"}, Soon())->version, 2);  // it is so already
  EXPECT_THAT(chats_.Update({.id = id, .title = "x", .version = 1}, Soon()),
              StatusIs(StatusCode::kAborted, reason::kEtagMismatch));
  EXPECT_EQ(
      chats_.Update({.id = id, .title = "x", .chat_type = ChatType::kPrivate}, Soon())->chat_type,
      ChatType::kPrivate);
}

TEST_F(Chats, AreListedAllOfATypeAndOfAUser) {
  const std::int64_t first = NewChat(database_.pool(), {ann_});
  const std::int64_t second = NewChat(database_.pool(), {bob_});
  const std::int64_t third = NewChat(database_.pool(), {ann_, bob_});
  EXPECT_THAT(
      chats_.List({.limit = 10}, std::nullopt, Soon())->rows,
      ElementsAre(Field(&Chat::id, first), Field(&Chat::id, second), Field(&Chat::id, third)));
  EXPECT_EQ(chats_.List({.limit = 10}, ChatType::kPrivate, Soon())->rows.size(), 0u);
  const auto of_ann = chats_.ListOfUser(ann_, {.limit = 1}, Soon());
  EXPECT_THAT(of_ann->rows, ElementsAre(Field(&Chat::id, first)));
  EXPECT_THAT(chats_.ListOfUser(ann_, {.limit = 1, .after = of_ann->next}, Soon())->rows,
              ElementsAre(Field(&Chat::id, third)));
  EXPECT_THAT(chats_.ListOfUser(999, {}, Soon()),
              StatusIs(StatusCode::kNotFound, reason::kUserNotFound));
  EXPECT_THAT(chats_.ListMembers(999, {}, Soon()),
              StatusIs(StatusCode::kNotFound, reason::kChatNotFound));
  EXPECT_EQ(chats_.BatchGet({third, 999, first}, Soon())->size(), 2u);
}

TEST_F(Chats, CarryTheirFirstHundredMembers) {
  database_.Sql(
      "INSERT INTO users (login, login_key) SELECT 'm' || n, 'm' || n FROM generate_series(1, 150) "
      "n");
  const std::int64_t chat = NewChat(database_.pool(), {ann_});
  database_.Sql("INSERT INTO chat_user (chat_id, user_id, role) SELECT " + std::to_string(chat) +
                ", id, 'member' FROM users ON CONFLICT DO NOTHING");
  const auto read = chats_.Get(chat, Soon());
  ASSERT_EQ(read->users.size(), 100u);
  EXPECT_EQ(read->users.front().id, ann_);
  for (std::size_t i = 1; i < read->users.size(); ++i) {
    EXPECT_LT(read->users[i - 1].id, read->users[i].id);
  }
}

TEST_F(Chats, TakeMembershipsAndMessagesWithThem) {
  const std::int64_t chat = NewChat(database_.pool(), {ann_, bob_});
  database_.Sql("INSERT INTO messages (chat_id, seq, user_id, text) VALUES (" +
                std::to_string(chat) + ", 1, " + std::to_string(ann_) + ", 'x')");
  ASSERT_THAT(chats_.Delete(chat, Soon()), IsOk());
  EXPECT_EQ(Count("chat_user"), "0");
  EXPECT_EQ(Count("messages"), "0");
  EXPECT_THAT(chats_.Delete(chat, Soon()), StatusIs(StatusCode::kNotFound, reason::kChatNotFound));
}

}  // namespace
}  // namespace parley::db
