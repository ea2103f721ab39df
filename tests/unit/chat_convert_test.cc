#include "services/chat/chat_convert.h"

#include <gtest/gtest.h>

#include <string>

#include "services/chat/user_convert.h"
#include "tests/support/status_matchers.h"

namespace parley::chat {
namespace {

using parley::testing::Violates;

User SomeUser(std::int64_t id) {
  User user;
  user.id = id;
  user.login = "ann";
  user.create_time = absl::FromUnixMicros(1'000'001);
  user.update_time = absl::FromUnixMicros(2'000'002);
  user.version = 3;
  return user;
}

TEST(UserToProto, TellsAnAbsentNameFromAnEmptyOne) {
  User user = SomeUser(7);
  EXPECT_FALSE(ToProto(user).has_name());
  user.name = "";
  EXPECT_TRUE(ToProto(user).has_name());
}

TEST(UserToProto, KeepsEverything) {
  User user = SomeUser(7);
  user.status = UserStatus::kBlocked;
  const v1::User proto = ToProto(user);
  EXPECT_EQ(proto.id(), 7);
  EXPECT_EQ(proto.login(), "ann");
  EXPECT_EQ(proto.status(), v1::USER_STATUS_BLOCKED);
  EXPECT_EQ(proto.create_time().nanos(), 1'000);
  EXPECT_EQ(proto.update_time().seconds(), 2);
  EXPECT_EQ(proto.etag(), "3");
}

TEST(UserChange, WithoutAMaskIsWhatIsSet) {
  v1::UpdateUserRequest request;
  request.mutable_user()->set_name("Ann");
  Violations violations;
  const UserChange change = ToChange(request, violations);
  EXPECT_TRUE(change.set_name);
  EXPECT_EQ(change.name, "Ann");
  EXPECT_FALSE(change.login.has_value());
  EXPECT_FALSE(change.status.has_value());
}

TEST(UserChange, WithTheStarRemovesAnAbsentNameAndWantsAStatus) {
  v1::UpdateUserRequest request;
  request.mutable_user()->set_login("ann");
  request.mutable_update_mask()->add_paths("*");
  Violations violations;
  const UserChange change = ToChange(request, violations);
  EXPECT_TRUE(change.set_name);
  EXPECT_FALSE(change.name.has_value());
  EXPECT_THAT(violations.ToStatus(), Violates("user.status"));
}

TEST(ChatChange, WithAMaskThatNamesAnAbsentRetentionKeepsForEver) {
  v1::UpdateChatRequest request;
  Violations violations;
  EXPECT_FALSE(ToChange(request, violations).set_retention);
  request.mutable_chat()->mutable_message_retention()->set_seconds(90);
  EXPECT_EQ(ToChange(request, violations).retention, absl::Seconds(90));
  request.mutable_chat()->clear_message_retention();
  request.mutable_update_mask()->add_paths("message_retention");
  const ChatChange change = ToChange(request, violations);
  EXPECT_TRUE(change.set_retention);
  EXPECT_FALSE(change.retention.has_value());
  EXPECT_TRUE(violations.empty());
}

TEST(UserStatusFromProto, RefusesNumbersThatAreNone) {
  Violations violations;
  FromProto("status", static_cast<v1::UserStatus>(99), violations);
  EXPECT_THAT(violations.ToStatus(), Violates("status"));
}

TEST(ChatRoleFromProto, IsMemberWhenNotSaid) {
  Violations violations;
  EXPECT_EQ(FromProto("role", v1::CHAT_ROLE_UNSPECIFIED, violations), ChatRole::kMember);
  EXPECT_EQ(FromProto("role", v1::CHAT_ROLE_OWNER, violations), ChatRole::kOwner);
  EXPECT_TRUE(violations.empty());
}

TEST(AppendChats, LeavesUsersOutBeforeTheReplyGrowsTooLarge) {
  Chat chat;
  for (int i = 0; i < 100; ++i) {
    User user = SomeUser(i);
    user.login.assign(1024, 'x');
    user.name = std::string(1024, 'y');
    chat.users.push_back(user);
  }
  v1::BatchGetChatsResponse response;
  AppendChats(std::vector<Chat>(100, chat), *response.mutable_chats());
  EXPECT_EQ(response.chats_size(), 100);
  EXPECT_EQ(response.chats(0).users_size(), 100);
  EXPECT_EQ(response.chats(99).users_size(), 0);
  EXPECT_LT(response.ByteSizeLong(), 4u * 1024 * 1024);
}

}  // namespace
}  // namespace parley::chat
