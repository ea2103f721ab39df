#include "services/message/watch.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "parley/message/v1/message_service.pb.h"

namespace parley::message {
namespace {

constexpr std::size_t kMaxFrame = 256 * 1024;  // bytes of events; the last may go beyond

}  // namespace

void Watch::Begin(const WatchPositions& positions, FirstFrame first_frame) {
  MutexLock lock(mutex_);
  for (const auto& [chat_id, position] : positions) places_[chat_id] = {position, position};
  begun_ = true;
  sent_at_ = SteadyNow();
  if (first_frame == FirstFrame::kAtOnce) Send("");
}

void Watch::Add(std::int64_t chat_id, const ChatPosition& position) {
  MutexLock lock(mutex_);
  places_[chat_id] = {position, position};
}

void Watch::Remove(std::int64_t chat_id) {
  MutexLock lock(mutex_);
  const auto place = places_.find(chat_id);
  if (place == places_.end()) return;
  if (place->second.queued > 0) {
    std::size_t dropped = 0;
    std::erase_if(queue_, [&](const Queued& queued) {
      if (queued.chat_id != chat_id) return false;
      dropped += queued.event->bytes.size();
      return true;
    });
    queued_bytes_ -= dropped;
  }
  places_.erase(place);
}

void Watch::SkipTo(std::int64_t chat_id, const ChatPosition& position) {
  MutexLock lock(mutex_);
  const auto place = places_.find(chat_id);
  if (place != places_.end()) place->second.read = Max(place->second.read, position);
}

std::optional<ChatPosition> Watch::PositionIn(std::int64_t chat_id) const {
  MutexLock lock(mutex_);
  const auto place = places_.find(chat_id);
  if (place == places_.end()) return std::nullopt;
  return place->second.read;
}

bool Watch::Offer(std::int64_t chat_id, const EncodedBatch& batch) {
  MutexLock lock(mutex_);
  const auto found = places_.find(chat_id);
  if (ended_ || found == places_.end()) return true;
  if (!Fits(batch.bytes)) return false;
  Place& place = found->second;
  if (place.queued == 0) place.sent = place.read;
  for (const std::shared_ptr<const EncodedEvent>& event : batch.events) {
    std::int64_t& reached = event->is_sent ? place.read.seq : place.read.event;
    if (event->number <= reached) continue;
    reached = event->number;
    queue_.push_back({chat_id, event, place.read});
    queued_bytes_ += event->bytes.size();
    ++place.queued;
  }
  place.read = Max(place.read, batch.end);
  Flush();
  return true;
}

bool Watch::HasRoom() {
  MutexLock lock(mutex_);
  wants_room_ = !Fits(kMaxFrame);
  return !wants_room_;
}

bool Watch::OnRoom() {
  MutexLock lock(mutex_);
  busy_ = false;
  Flush();
  if (!wants_room_ || !Fits(kMaxFrame)) return false;
  wants_room_ = false;
  return true;
}

absl::Time Watch::Beat(absl::Time now) {
  MutexLock lock(mutex_);
  const absl::Time due = sent_at_ + options_.heartbeat;
  if (!begun_ || ended_) return now + options_.heartbeat;
  if (now < due) return due;
  if (busy_) return now + options_.heartbeat;
  Send("");
  return now + options_.heartbeat;
}

void Watch::End(const absl::Status& status) {
  {
    MutexLock lock(mutex_);
    ended_ = true;
    queue_.clear();
  }
  stream_->End(status);
}

void Watch::SendHome(const absl::Status& status) {
  {
    MutexLock lock(mutex_);
    if (begun_ && !busy_ && !ended_) Send("");
  }
  End(status);
}

bool Watch::ended() const {
  MutexLock lock(mutex_);
  return ended_;
}

bool Watch::Fits(std::size_t bytes) const {
  return queue_.empty() || queued_bytes_ + bytes <= options_.max_queued;
}

void Watch::Flush() {
  if (busy_ || ended_ || queue_.empty()) return;
  std::string events;
  while (!queue_.empty() && events.size() < kMaxFrame) {
    const Queued& next = queue_.front();
    // Serialized messages that follow each other are one message with all their fields.
    absl::StrAppend(&events, next.event->bytes);
    queued_bytes_ -= next.event->bytes.size();
    Place& place = places_[next.chat_id];
    place.sent = next.after;
    --place.queued;
    queue_.pop_front();
  }
  Send(std::move(events));
}

void Watch::Send(std::string events) {
  v1::WatchMessagesResponse rest;
  rest.set_resume_token(Token());
  rest.AppendToString(&events);
  busy_ = true;
  sent_at_ = SteadyNow();
  // If it is not taken, the stream has ended, and nobody reads any more.
  if (!stream_->TrySend(std::move(events))) ended_ = true;
}

std::string Watch::Token() const {
  WatchPositions positions;
  for (const auto& [chat_id, place] : places_) {
    positions.emplace_hint(positions.end(), chat_id, place.queued == 0 ? place.read : place.sent);
  }
  return EncodeResumeToken(options_.user_id, positions);
}

}  // namespace parley::message
