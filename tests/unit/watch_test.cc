#include "services/message/watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "parley/message/v1/message_service.pb.h"

namespace parley::message {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// A stream whose caller reads when the test says so.
class FakeStream final : public runtime::Stream {
 public:
  void Attach(Observer /*observer*/) override {}
  bool TrySend(std::string frame) override {
    if (full || ended) return false;
    full = true;
    EXPECT_TRUE(last.ParseFromString(frame));
    ++frames;
    return true;
  }
  void End(const absl::Status& status) override {
    ended = true;
    end = status;
  }

  bool full = false;
  bool ended = false;
  absl::Status end;
  v1::WatchMessagesResponse last;
  int frames = 0;
};

constexpr std::int64_t kChat = 5;

class WatchTest : public ::testing::Test {
 protected:
  static std::shared_ptr<const EncodedEvent> Sent(std::int64_t seq, std::size_t size = 1) {
    auto event = std::make_shared<EncodedEvent>();
    v1::WatchMessagesResponse one;
    one.add_events()->mutable_sent()->set_seq(seq);
    one.mutable_events(0)->mutable_sent()->set_text(std::string(size, 'x'));
    *event = {true, seq, one.SerializeAsString()};
    return event;
  }
  static std::shared_ptr<const EncodedEvent> Changed(std::int64_t number, std::int64_t seq) {
    auto event = std::make_shared<EncodedEvent>();
    v1::WatchMessagesResponse one;
    one.add_events()->mutable_updated()->set_seq(seq);
    *event = {false, number, one.SerializeAsString()};
    return event;
  }
  static EncodedBatch Batch(std::vector<std::shared_ptr<const EncodedEvent>> events,
                            ChatPosition end) {
    EncodedBatch batch;
    for (const auto& event : events) batch.bytes += event->bytes.size();
    batch.events = std::move(events);
    batch.end = end;
    return batch;
  }

  // What the last frame holds, and where a caller would resume after it.
  std::vector<std::string> Shown() const {
    std::vector<std::string> shown;
    for (const v1::MessageEvent& event : stream_->last.events()) {
      shown.push_back(event.has_sent() ? absl::StrCat("+", event.sent().seq())
                                       : absl::StrCat("~", event.updated().seq()));
    }
    return shown;
  }
  ChatPosition Resumed(std::int64_t chat_id = kChat) const {
    return DecodeResumeToken(0, stream_->last.resume_token()).value().at(chat_id);
  }
  // The caller reads the frame.
  bool Take() {
    stream_->full = false;
    return watch_.OnRoom();
  }

  const std::shared_ptr<FakeStream> stream_ = std::make_shared<FakeStream>();
  Watch watch_{{.max_queued = 1000}, stream_};
};

TEST_F(WatchTest, SendsWhatWaitsInOneFrameWithTheTokenBehindIt) {
  watch_.Begin({{kChat, {1, 1}}}, Watch::FirstFrame::kAtOnce);
  EXPECT_THAT(Shown(), IsEmpty());
  EXPECT_EQ(Resumed(), (ChatPosition{1, 1}));
  EXPECT_TRUE(watch_.Offer(kChat, Batch({Sent(2)}, {2, 1})));
  EXPECT_TRUE(watch_.Offer(kChat, Batch({Sent(3), Changed(2, 1)}, {3, 2})));
  EXPECT_EQ(stream_->frames, 1);
  Take();
  EXPECT_THAT(Shown(), ElementsAre("+2", "+3", "~1"));
  EXPECT_EQ(Resumed(), (ChatPosition{3, 2}));
  Take();
  EXPECT_EQ(stream_->frames, 2);
}

TEST_F(WatchTest, CutsFramesAndTokensTellWhere) {
  Watch wide({.max_queued = 10'000'000}, stream_);
  wide.Begin({{kChat, {0, 0}}, {9, {4, 4}}}, Watch::FirstFrame::kAtOnce);
  constexpr std::size_t kBig = 200 * 1024;
  EXPECT_TRUE(wide.Offer(
      kChat, Batch({Sent(1, kBig), Sent(2, kBig), Sent(3, kBig), Changed(1, 1)}, {3, 1})));
  stream_->full = false;
  wide.OnRoom();
  EXPECT_THAT(Shown(), ElementsAre("+1", "+2"));
  EXPECT_EQ(Resumed(), (ChatPosition{2, 0}));
  stream_->full = false;
  wide.OnRoom();
  EXPECT_THAT(Shown(), ElementsAre("+3", "~1"));
  EXPECT_EQ(Resumed(), (ChatPosition{3, 1}));
  EXPECT_EQ(Resumed(9), (ChatPosition{4, 4}));
}

TEST_F(WatchTest, LeavesOutWhatItHasSeenAndWhatItSkips) {
  watch_.Begin({{kChat, {2, 0}}}, Watch::FirstFrame::kWithEvents);
  EXPECT_TRUE(watch_.Offer(
      kChat, Batch({Sent(1), Sent(2), Sent(3), Changed(1, 1), Changed(2, 3)}, {3, 2})));
  EXPECT_THAT(Shown(), ElementsAre("+3", "~1", "~3"));
  Take();
  watch_.SkipTo(kChat, {5, 3});
  EXPECT_TRUE(watch_.Offer(kChat, Batch({Sent(4), Sent(5), Sent(6), Changed(3, 1)}, {6, 3})));
  EXPECT_THAT(Shown(), ElementsAre("+6"));
  EXPECT_EQ(Resumed(), (ChatPosition{6, 3}));
  // A position never goes back.
  watch_.SkipTo(kChat, {1, 1});
  EXPECT_EQ(watch_.PositionIn(kChat), (ChatPosition{6, 3}));
}

TEST_F(WatchTest, TokensFollowWhatHasNothingToShow) {
  watch_.Begin({{kChat, {2, 0}}}, Watch::FirstFrame::kAtOnce);
  EXPECT_TRUE(watch_.Offer(kChat, Batch({}, {7, 7})));
  Take();
  EXPECT_EQ(stream_->frames, 1);
  watch_.Beat(absl::Now() + absl::Minutes(1));
  EXPECT_EQ(Resumed(), (ChatPosition{7, 7}));
}

TEST_F(WatchTest, DropsWhatWaitsOfAChatThatIsLeft) {
  watch_.Begin({{kChat, {0, 0}}, {9, {0, 0}}}, Watch::FirstFrame::kAtOnce);
  EXPECT_TRUE(watch_.Offer(kChat, Batch({Sent(1)}, {1, 0})));
  EXPECT_TRUE(watch_.Offer(9, Batch({Sent(2)}, {2, 0})));
  watch_.Remove(kChat);
  EXPECT_TRUE(watch_.Offer(kChat, Batch({Sent(3)}, {3, 0})));
  EXPECT_EQ(watch_.PositionIn(kChat), std::nullopt);
  Take();
  EXPECT_THAT(Shown(), ElementsAre("+2"));
  EXPECT_THAT(DecodeResumeToken(0, stream_->last.resume_token()).value(), SizeIs(1));
}

TEST_F(WatchTest, TakesNoMoreThanMayWait) {
  watch_.Begin({{kChat, {0, 0}}}, Watch::FirstFrame::kAtOnce);
  EXPECT_TRUE(watch_.HasRoom());
  // One batch always fits when nothing waits.
  EXPECT_TRUE(watch_.Offer(kChat, Batch({Sent(1, 5000)}, {1, 0})));
  EXPECT_FALSE(watch_.HasRoom());
  EXPECT_FALSE(watch_.Offer(kChat, Batch({Sent(2)}, {2, 0})));
  EXPECT_EQ(watch_.PositionIn(kChat), (ChatPosition{1, 0}));
  EXPECT_TRUE(Take());
  EXPECT_FALSE(Take()) << "nobody was waiting for room";
  EXPECT_TRUE(watch_.Offer(kChat, Batch({Sent(2)}, {2, 0})));
  EXPECT_THAT(Shown(), ElementsAre("+2"));
}

TEST_F(WatchTest, BeatsOnlyWhenNothingWasSentForLong) {
  const absl::Time start = absl::Now();
  EXPECT_EQ(watch_.Beat(start), start + absl::Seconds(15));
  watch_.Begin({{kChat, {0, 0}}}, Watch::FirstFrame::kAtOnce);
  Take();
  EXPECT_GT(watch_.Beat(start + absl::Seconds(14)), start + absl::Seconds(14));
  EXPECT_EQ(stream_->frames, 1);
  watch_.Beat(start + absl::Seconds(20));
  EXPECT_EQ(stream_->frames, 2);
  // The caller has not read it yet.
  watch_.Beat(start + absl::Seconds(60));
  EXPECT_EQ(stream_->frames, 2);
}

TEST_F(WatchTest, SendsNothingAfterItsEnd) {
  watch_.Begin({{kChat, {0, 0}}}, Watch::FirstFrame::kAtOnce);
  EXPECT_TRUE(watch_.Offer(kChat, Batch({Sent(1)}, {1, 0})));
  watch_.End(absl::UnavailableError("over"));
  Take();
  EXPECT_TRUE(watch_.Offer(kChat, Batch({Sent(2)}, {2, 0})));
  watch_.Beat(absl::Now() + absl::Hours(1));
  EXPECT_EQ(stream_->frames, 1);
  EXPECT_TRUE(stream_->ended);
}

}  // namespace
}  // namespace parley::message
