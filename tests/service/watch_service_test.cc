// WatchMessages, as its callers see it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "db/repository/chat_repository.h"
#include "tests/service/messaged_process.h"
#include "tests/support/people.h"
#include "tests/support/run_threads.h"
#include "tests/support/service_client.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_database.h"

namespace parley::testing {
namespace {

using grpc::StatusCode;
using message::v1::Message;
using message::v1::WatchMessagesRequest;
using message::v1::WatchMessagesResponse;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr absl::Duration kNever = absl::Hours(10);

class Watches : public ::testing::Test {
 protected:
  WatchMessagesRequest ChatRequest(const std::string& token = "") const {
    WatchMessagesRequest request;
    request.add_chat_ids(chat_);
    request.set_resume_token(token);
    return request;
  }
  static WatchMessagesRequest UserRequest(std::int64_t user, const std::string& token = "") {
    WatchMessagesRequest request;
    request.set_user_id(user);
    request.set_resume_token(token);
    return request;
  }

  // A watch that has begun: its first frame has been read.
  static std::unique_ptr<Watching> Begin(MessagedProcess& process,
                                         const WatchMessagesRequest& request) {
    auto watching = std::make_unique<Watching>(process, request);
    WatchMessagesResponse first;
    EXPECT_TRUE(watching->Read(&first));
    EXPECT_EQ(first.events_size(), 0);
    EXPECT_NE(first.resume_token(), "");
    return watching;
  }
  static grpc::Status Refusal(MessagedProcess& process, const WatchMessagesRequest& request) {
    return Watching(process, request).Finish();
  }

  void Send(MessagedProcess& process, const std::string& text) { SendTo(process, chat_, text); }
  void SendTo(MessagedProcess& process, std::int64_t chat, const std::string& text) const {
    message::v1::SendMessageRequest request;
    request.set_chat_id(chat);
    request.set_user_id(ann_);
    request.set_text(text);
    Message message;
    grpc::ClientContext context;
    const grpc::Status sent = process.stub().SendMessage(&context, request, &message);
    ASSERT_TRUE(sent.ok()) << sent.error_message();
  }
  void Edit(MessagedProcess& process, std::int64_t seq, const std::string& text) const {
    message::v1::UpdateMessageRequest request;
    request.mutable_message()->set_chat_id(chat_);
    request.mutable_message()->set_seq(seq);
    request.mutable_message()->set_text(text);
    request.set_user_id(ann_);
    Message message;
    grpc::ClientContext context;
    const grpc::Status edited = process.stub().UpdateMessage(&context, request, &message);
    ASSERT_TRUE(edited.ok()) << edited.error_message();
  }
  void Delete(MessagedProcess& process, std::int64_t seq) const {
    message::v1::DeleteMessageRequest request;
    request.set_chat_id(chat_);
    request.set_seq(seq);
    request.set_user_id(ann_);
    Message message;
    grpc::ClientContext context;
    const grpc::Status deleted = process.stub().DeleteMessage(&context, request, &message);
    ASSERT_TRUE(deleted.ok()) << deleted.error_message();
  }
  void Join(std::int64_t chat, std::int64_t user) {
    ASSERT_THAT(chats_.AddMember({.chat_id = chat, .user_id = user}, Soon()), IsOk());
  }
  void Leave(std::int64_t chat, std::int64_t user) {
    ASSERT_THAT(chats_.RemoveMember(chat, user, Soon()), IsOk());
  }

  // How often the statement was executed in the test's database.
  std::int64_t Calls(const std::string& statement) const {
    const std::string calls = database_.Sql(absl::StrCat(
        "CREATE EXTENSION IF NOT EXISTS pg_stat_statements; SELECT coalesce(sum(calls), 0) FROM "
        "pg_stat_statements JOIN pg_database AS d ON d.oid = dbid WHERE datname = "
        "current_database() AND query LIKE '/* ",
        statement, " */%'"));
    return std::stoll(calls);
  }

  // Keeps everybody out of the database, or lets them in again.
  void SetOutage(bool out) const {
    RunSql(ClusterDsn(),
           absl::StrCat("ALTER DATABASE ", name_, " ALLOW_CONNECTIONS ", out ? "false" : "true"));
    if (!out) return;
    RunSql(ClusterDsn(), absl::StrCat("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                                      "WHERE datname = '",
                                      name_, "'"));
  }

  TempDatabase database_;
  const std::string name_ = database_.Sql("SELECT current_database()");
  db::ChatRepository chats_{database_.pool()};
  const std::int64_t ann_ = NewUser(database_.pool(), "ann");
  const std::int64_t bob_ = NewUser(database_.pool(), "bob");
  const std::int64_t chat_ = NewChat(database_.pool(), {ann_, bob_});
  MessagedProcess process_{database_};
};

TEST_F(Watches, BeginWithWhatIsSentFromNowOn) {
  Send(process_, "before");
  const auto watching = Begin(process_, ChatRequest());
  Send(process_, "one");
  Send(process_, "two");
  EXPECT_THAT(watching->Events(2), ElementsAre("+2 one", "+3 two"));
  EXPECT_EQ(watching->End().error_code(), StatusCode::CANCELLED);
}

TEST_F(Watches, ShowEditsAndDeletionsOfOldMessagesToo) {
  Send(process_, "old");
  const auto watching = Begin(process_, ChatRequest());
  Edit(process_, 1, "newer");
  EXPECT_THAT(watching->Events(1), ElementsAre("~1 newer"));
  Delete(process_, 1);
  EXPECT_THAT(watching->Events(1), ElementsAre("-1"));
  Delete(process_, 1);
  Send(process_, "end");
  EXPECT_THAT(watching->Events(1), ElementsAre("+2 end"));
}

TEST_F(Watches, ShowMessagesAsTheyAreAndChangesOnceAfterwards) {
  const auto first = Begin(process_, ChatRequest());
  const std::string token = first->token();
  first->End();
  Send(process_, "a");
  Send(process_, "b");
  Edit(process_, 1, "A");
  Delete(process_, 2);
  Edit(process_, 1, "AA");
  Watching again(process_, ChatRequest(token));
  EXPECT_THAT(again.Events(5), ElementsAre("+1 AA", "+2", "~1 AA", "-2", "~1 AA"));
  Send(process_, "c");
  EXPECT_THAT(again.Events(1), ElementsAre("+3 c"));
}

TEST_F(Watches, ReplayMoreThanABatchAndThenGoOnLive) {
  const auto first = Begin(process_, ChatRequest());
  database_.Sql(absl::StrCat(
      "INSERT INTO messages (chat_id, seq, user_id, text) SELECT ", chat_, ", n, ", ann_,
      ", 'm' || n FROM generate_series(1, 2345) AS n; UPDATE chats SET last_seq = 2345 WHERE id = ",
      chat_));
  Watching again(process_, ChatRequest(first->token()));
  std::thread writer([this] {
    for (int i = 2346; i <= 2445; ++i) Send(process_, absl::StrCat("m", i));
  });
  const std::vector<std::string> events = again.Events(2445);
  writer.join();
  ASSERT_THAT(events, SizeIs(2445));
  for (std::size_t i = 0; i < events.size(); ++i) {
    ASSERT_EQ(events[i], absl::StrCat("+", i + 1, " m", i + 1));
  }
}

TEST_F(Watches, LeaveOutWhatRetentionHides) {
  const auto first = Begin(process_, ChatRequest());
  for (const char* text : {"a", "b", "c", "d"}) Send(process_, text);
  Edit(process_, 1, "A");
  Edit(process_, 4, "D");
  database_.Sql(absl::StrCat("UPDATE chats SET first_seq = 3 WHERE id = ", chat_));
  Watching again(process_, ChatRequest(first->token()));
  EXPECT_THAT(again.Events(3), ElementsAre("+3 c", "+4 D", "~4 D"));
  database_.Sql(absl::StrCat("UPDATE chats SET first_seq = 5 WHERE id = ", chat_));
  Send(process_, "e");
  Watching last(process_, ChatRequest(first->token()));
  EXPECT_THAT(last.Events(1), ElementsAre("+5 e"));
}

// Every change once, in the order of its commit and after its message, and every message once, for
// a caller that is cut off again and again while others write.
TEST_F(Watches, ResumeWithoutAGapOrARepeatWhileOthersWrite) {
  MessagedProcess other(database_);
  MessagedProcess* const processes[] = {&process_, &other};
  constexpr int kWriters = 4;
  constexpr int kMessages = 60;
  constexpr std::size_t kAtOnce = 7;
  const auto first = Begin(process_, ChatRequest());
  std::string token = first->token();
  std::atomic<bool> done{false};
  std::thread writers([&] {
    RunThreads(kWriters, [&](int writer) {
      for (int i = 0; i < kMessages; ++i) {
        Send(*processes[writer % 2], absl::StrCat(writer, ".", i));
        if (i % 3 == 2) Edit(*processes[writer % 2], i + 1, absl::StrCat("edit ", writer));
        if (i % 10 == 9) Send(*processes[(writer + 1) % 2], "x");
      }
    });
    for (const std::int64_t seq : {1, 5, 9}) Delete(process_, seq);
    done = true;
    // For whoever still waits for a few more.
    for (std::size_t i = 0; i < kAtOnce; ++i) Send(process_, "end");
  });
  std::vector<std::string> kinds;  // without the texts, which are as they are when they are read
  const auto collect = [&](std::size_t process, std::size_t count) {
    Watching watching(*processes[process % 2], ChatRequest(token));
    for (const std::string& event : watching.Events(count)) {
      kinds.push_back(event.substr(0, event.find(' ')));
    }
    token = watching.token();
  };
  std::size_t resumed = 0;
  while (!done) collect(resumed++, kAtOnce);
  writers.join();
  const std::size_t all = std::stoull(
      database_.Sql(absl::StrCat("SELECT last_seq + last_event FROM chats WHERE id = ", chat_)));
  while (kinds.size() < all) collect(resumed++, std::min<std::size_t>(all - kinds.size(), 50));
  EXPECT_GT(resumed, 10U);
  EXPECT_EQ(kinds.size(), all);

  std::string changes;
  std::int64_t last_seq = 0;
  for (const std::string& kind : kinds) {
    const std::int64_t seq = std::stoll(kind.substr(1));
    if (kind[0] == '+') {
      EXPECT_EQ(seq, ++last_seq);
    } else {
      EXPECT_LE(seq, last_seq) << "changed before it was sent";
      absl::StrAppend(&changes, kind, " ");
    }
  }
  EXPECT_EQ(changes,
            database_.Sql(absl::StrCat(
                "SELECT string_agg(CASE kind WHEN 'updated' THEN '~' ELSE '-' END || seq || ' ', "
                "'' ORDER BY event) FROM message_events WHERE chat_id = ",
                chat_)));
}

TEST_F(Watches, SendHeartbeatsWithATokenWhileNothingHappens) {
  WatchMessagesRequest request = ChatRequest();
  request.mutable_heartbeat_interval()->set_seconds(1);
  const auto watching = Begin(process_, request);
  const absl::Time start = absl::Now();
  WatchMessagesResponse frame;
  ASSERT_TRUE(watching->Read(&frame));
  EXPECT_EQ(frame.events_size(), 0);
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(900));
  Send(process_, "a");
  Watching again(process_, ChatRequest(frame.resume_token()));
  EXPECT_THAT(again.Events(1), ElementsAre("+1 a"));
}

TEST_F(Watches, EndWhenTheCallerIsTooSlowAndCanBeResumed) {
  MessagedProcess narrow(database_, {.max_queued = 16 * 1024});
  const auto slow = Begin(narrow, ChatRequest());
  const auto fast = Begin(narrow, ChatRequest());
  constexpr std::size_t kCount = 300;
  std::thread reader([&] { EXPECT_THAT(fast->Events(kCount), SizeIs(kCount)); });
  for (std::size_t i = 1; i <= kCount; ++i) Send(narrow, absl::StrCat(i, std::string(500, 'x')));
  reader.join();
  std::vector<std::string> events = slow->Events(kCount);
  EXPECT_LT(events.size(), kCount);
  const std::string token = slow->token();
  const grpc::Status status = slow->Finish();
  EXPECT_EQ(status.error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ReasonOf(status), "WATCHER_TOO_SLOW");
  // What it missed is more than may wait; it is read as it is taken.
  Watching again(narrow, ChatRequest(token));
  for (const std::string& event : again.Events(kCount - events.size())) events.push_back(event);
  ASSERT_THAT(events, SizeIs(kCount));
  for (std::size_t i = 0; i < kCount; ++i) {
    EXPECT_EQ(events[i], absl::StrCat("+", i + 1, " ", i + 1, std::string(500, 'x')));
  }
}

TEST_F(Watches, FollowAUserIntoChatsAndOutOfThem) {
  const std::int64_t second = NewChat(database_.pool(), {ann_});
  const auto watching = Begin(process_, UserRequest(bob_));
  watching->ShowChats();
  const auto shown = [](std::int64_t chat, const std::string& event) {
    return absl::StrCat(chat, ":", event);
  };
  SendTo(process_, second, "before bob");
  Send(process_, "hi");
  EXPECT_THAT(watching->Events(1), ElementsAre(shown(chat_, "+1 hi")));

  Join(second, bob_);
  SendTo(process_, second, "bob is here");
  EXPECT_THAT(watching->Events(1), ElementsAre(shown(second, "+2 bob is here")));

  Leave(second, bob_);
  SendTo(process_, second, "bob is gone");
  Join(second, bob_);
  SendTo(process_, second, "bob is back");
  EXPECT_THAT(watching->Events(1), ElementsAre(shown(second, "+4 bob is back")));

  Leave(second, bob_);
  const std::string token = watching->token();
  SendTo(process_, second, "secret");
  Send(process_, "end");
  EXPECT_THAT(watching->Events(1), ElementsAre(shown(chat_, "+2 end")));
  Join(second, bob_);
  SendTo(process_, second, "resumed");
  Watching again(process_, UserRequest(bob_, token));
  again.ShowChats();
  EXPECT_THAT(again.Events(2),
              ::testing::UnorderedElementsAre(shown(chat_, "+2 end"), shown(second, "+6 resumed")));
}

TEST_F(Watches, ShowNothingToWhoHasLeftEvenIfNobodyHasToldOfIt) {
  MessagedProcess slow(database_, {.members_interval = kNever});
  const auto watching = Begin(slow, UserRequest(bob_));
  Send(slow, "hi");
  EXPECT_THAT(watching->Events(1), ElementsAre("+1 hi"));
  Leave(chat_, bob_);
  Send(slow, "secret");
  const std::int64_t second = NewChat(database_.pool(), {ann_, bob_});
  db::Notifier moves(database_.pool(), db::kMemberChannel);
  moves.Notify(bob_);
  SendTo(slow, second, "end");
  EXPECT_THAT(watching->Events(1), ElementsAre("+1 end"));
}

TEST_F(Watches, LearnOfWritesOfOtherProcessesByHints) {
  MessagedProcess other(database_, {.look_interval = kNever, .members_interval = kNever});
  const auto watching = Begin(other, ChatRequest());
  for (int i = 1; i <= 20; ++i) {
    Send(process_, "x");
    EXPECT_THAT(watching->Events(1), ElementsAre(absl::StrCat("+", i, " x")));
  }
}

TEST_F(Watches, FindByLookingWhatNobodyHintedAt) {
  const auto watching = Begin(process_, ChatRequest());
  const auto of_user = Begin(process_, UserRequest(ann_));
  database_.Sql(absl::StrCat("INSERT INTO messages (chat_id, seq, user_id, text) VALUES (", chat_,
                             ", 1, ", ann_,
                             ", 'quiet'); UPDATE chats SET last_seq = 1 WHERE id = ", chat_));
  EXPECT_THAT(watching->Events(1), ElementsAre("+1 quiet"));
  EXPECT_THAT(of_user->Events(1), ElementsAre("+1 quiet"));
}

TEST_F(Watches, ShareOneReader) {
  constexpr int kWatchers = 300;
  constexpr int kMessages = 20;
  std::vector<std::unique_ptr<Watching>> watching;
  for (int i = 0; i < kWatchers; ++i) watching.push_back(Begin(process_, ChatRequest()));
  const std::int64_t before = Calls("event.ReadEvents");
  for (int i = 1; i <= kMessages; ++i) Send(process_, "x");
  for (const auto& one : watching) EXPECT_THAT(one->Events(kMessages), SizeIs(kMessages));
  EXPECT_LE(Calls("event.ReadEvents") - before, 3 * kMessages);

  // And so do those who resume at the same place.
  const std::int64_t again = Calls("event.ReadEvents");
  const std::string token = Begin(process_, ChatRequest())->token();
  for (int i = 1; i <= kMessages; ++i) Send(process_, "x");
  watching.clear();
  for (int i = 0; i < kWatchers; ++i) {
    watching.push_back(std::make_unique<Watching>(process_, ChatRequest(token)));
  }
  for (const auto& one : watching) EXPECT_THAT(one->Events(kMessages), SizeIs(kMessages));
  EXPECT_LE(Calls("event.ReadEvents") - again, 3 * kMessages + kWatchers);
}

TEST_F(Watches, StayWhileTheDatabaseIsAway) {
  WatchMessagesRequest request = ChatRequest();
  request.mutable_heartbeat_interval()->set_seconds(1);
  const auto watching = Begin(process_, request);
  Send(process_, "before");
  EXPECT_THAT(watching->Events(1), ElementsAre("+1 before"));
  SetOutage(true);
  WatchMessagesResponse frame;
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(watching->Read(&frame));
    EXPECT_EQ(frame.events_size(), 0);
  }
  const grpc::Status refused = Refusal(process_, ChatRequest());
  EXPECT_EQ(refused.error_code(), StatusCode::UNAVAILABLE);
  SetOutage(false);
  MessagedProcess other(database_);
  Send(other, "after");
  EXPECT_THAT(watching->Events(1), ElementsAre("+2 after"));
}

TEST_F(Watches, AreSentHomeByADrainAndResumeElsewhere) {
  MessagedProcess leaving(database_);
  const auto watching = Begin(leaving, ChatRequest());
  Send(process_, "one");
  EXPECT_THAT(watching->Events(1), ElementsAre("+1 one"));
  leaving.watches().Drain();
  std::string token = watching->token();
  WatchMessagesResponse frame;
  while (watching->Read(&frame)) token = frame.resume_token();
  const grpc::Status status = watching->Finish();
  EXPECT_EQ(status.error_code(), StatusCode::UNAVAILABLE);
  EXPECT_EQ(ReasonOf(status), "DRAINING");
  EXPECT_EQ(ReasonOf(Refusal(leaving, ChatRequest())), "DRAINING");
  Send(process_, "two");
  Watching again(process_, ChatRequest(token));
  EXPECT_THAT(again.Events(1), ElementsAre("+2 two"));
}

TEST_F(Watches, AreRefusedWhenThereIsNoRoomForMore) {
  MessagedProcess small(database_, {.max_watches = 1});
  auto watching = Begin(small, ChatRequest());
  const grpc::Status refused = Refusal(small, ChatRequest());
  EXPECT_EQ(refused.error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ReasonOf(refused), "QUEUE_FULL");
  watching->End();
  // Its place is free as soon as the server has noticed.
  grpc::Status status;
  for (const absl::Time end = absl::Now() + absl::Seconds(20); absl::Now() < end;) {
    Watching next(small, ChatRequest());
    WatchMessagesResponse first;
    if (next.Read(&first)) return;
    status = next.Finish();
  }
  FAIL() << status.error_message();
}

TEST_F(Watches, AreEndedByTheCallersDeadline) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(300));
  const auto reader = process_.stub().WatchMessages(&context, ChatRequest());
  WatchMessagesResponse frame;
  while (reader->Read(&frame)) {
  }
  EXPECT_EQ(reader->Finish().error_code(), StatusCode::DEADLINE_EXCEEDED);
}

TEST_F(Watches, AreOfChatsAndUsersThatExist) {
  WatchMessagesRequest request = ChatRequest();
  request.add_chat_ids(chat_ + 1000);
  EXPECT_EQ(ReasonOf(Refusal(process_, request)), "CHAT_NOT_FOUND");
  const grpc::Status no_user = Refusal(process_, UserRequest(bob_ + 1000));
  EXPECT_EQ(no_user.error_code(), StatusCode::NOT_FOUND);
  EXPECT_EQ(ReasonOf(no_user), "USER_NOT_FOUND");
  // A user without a chat waits for the first.
  const std::int64_t eve = NewUser(database_.pool(), "eve");
  const auto watching = Begin(process_, UserRequest(eve));
  Join(chat_, eve);
  Send(process_, "hello eve");
  EXPECT_THAT(watching->Events(1), ElementsAre("+1 hello eve"));
}

TEST_F(Watches, ListEverythingThatIsWrongWithARequest) {
  WatchMessagesRequest request;
  request.mutable_heartbeat_interval()->set_seconds(301);
  request.set_resume_token("nonsense");
  const grpc::Status status = Refusal(process_, request);
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(FieldsOf(status), ElementsAre("chat_ids", "resume_token", "heartbeat_interval"));
  request = ChatRequest();
  request.add_chat_ids(-1);
  request.set_user_id(bob_);
  request.mutable_heartbeat_interval();
  EXPECT_THAT(FieldsOf(Refusal(process_, request)),
              ElementsAre("user_id", "chat_ids[1]", "heartbeat_interval"));
  // A token of chats is none of a user, nor one of another user.
  const std::string token = Begin(process_, ChatRequest())->token();
  EXPECT_THAT(FieldsOf(Refusal(process_, UserRequest(bob_, token))), ElementsAre("resume_token"));
  const std::string anns = Begin(process_, UserRequest(ann_))->token();
  EXPECT_THAT(FieldsOf(Refusal(process_, UserRequest(bob_, anns))), ElementsAre("resume_token"));
}

TEST_F(Watches, OfChatsMayBeResumedWithOthers) {
  const std::int64_t second = NewChat(database_.pool(), {ann_});
  const auto first = Begin(process_, ChatRequest());
  Send(process_, "missed");
  SendTo(process_, second, "before");
  WatchMessagesRequest request = ChatRequest(first->token());
  request.add_chat_ids(second);
  const auto again = Begin(process_, request);
  EXPECT_THAT(again->Events(1), ElementsAre("+1 missed"));
  SendTo(process_, second, "after");
  EXPECT_THAT(again->Events(1), ElementsAre("+2 after"));
}

}  // namespace
}  // namespace parley::testing
