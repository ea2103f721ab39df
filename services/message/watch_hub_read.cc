// What is new in watched chats, read once for all who watch.
#include <memory>

#include "base/clock.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "parley/message/v1/message_service.pb.h"
#include "services/message/message_convert.h"
#include "services/message/watch_hub.h"

namespace parley::message {
namespace {

// Between rounds of reading what is new: under load a round then finds several messages of a chat.
constexpr absl::Duration kReadSpacing = absl::Milliseconds(2);
// How many watches are read for before the others have their turn.
constexpr std::size_t kCatchUpsAtOnce = 8;

absl::Status TooSlow() {
  return Error(absl::StatusCode::kResourceExhausted, reason::kWatcherTooSlow,
               "the caller reads slower than messages come; resume the watch");
}

std::shared_ptr<const EncodedEvent> Encode(const MessageEvent& event) {
  auto encoded = std::make_shared<EncodedEvent>();
  v1::WatchMessagesResponse one;
  v1::MessageEvent& proto = *one.add_events();
  switch (event.kind) {
    case MessageEvent::Kind::kSent:
      *proto.mutable_sent() = ToProto(event.message);
      break;
    case MessageEvent::Kind::kUpdated:
      *proto.mutable_updated() = ToProto(event.message);
      break;
    case MessageEvent::Kind::kDeleted:
      *proto.mutable_deleted() = ToProto(event.message);
      break;
  }
  encoded->is_sent = event.kind == MessageEvent::Kind::kSent;
  encoded->number = encoded->is_sent ? event.message.seq : event.event;
  encoded->bytes = one.SerializeAsString();
  return encoded;
}

EncodedBatch Encode(const db::EventRepository::Batch& batch) {
  EncodedBatch encoded;
  encoded.end = batch.end;
  for (const MessageEvent& event : batch.events) {
    encoded.events.push_back(Encode(event));
    encoded.bytes += encoded.events.back()->bytes.size();
  }
  return encoded;
}

}  // namespace

absl::Status WatchHub::ReadLive() {
  if (to_read_.empty() || SteadyNow() < read_at_) return absl::OkStatus();
  read_at_ = SteadyNow() + kReadSpacing;
  const std::vector<std::int64_t> chat_ids(to_read_.begin(), to_read_.end());
  absl::Status trouble;
  for (const std::int64_t chat_id : chat_ids) {
    absl::Status read = ReadChat(chat_id);
    if (absl::IsUnavailable(read)) return read;
    trouble.Update(read);  // one chat's trouble is not to keep the others waiting
  }
  return trouble;
}

absl::Status WatchHub::ReadChat(std::int64_t chat_id) {
  const auto found = chats_.find(chat_id);
  if (found == chats_.end() || found->second.live.empty()) {
    to_read_.erase(chat_id);
    return absl::OkStatus();
  }
  const auto batch = events_.Read({.chat_id = chat_id, .after = found->second.head}, Patience());
  if (absl::IsNotFound(batch.status())) ChatGone(chat_id);
  if (absl::IsNotFound(batch.status())) return absl::OkStatus();
  PARLEY_RETURN_IF_ERROR(batch.status());
  std::vector<WatchId> ids;
  for (const auto& [id, watcher] : found->second.live) ids.push_back(id);
  if (!batch->events.empty()) PARLEY_RETURN_IF_ERROR(CheckMembers(chat_id, ids));
  const EncodedBatch encoded = Encode(*batch);
  for (const WatchId id : ids) OfferLive(chat_id, id, encoded);
  if (const auto chat = chats_.find(chat_id); chat != chats_.end()) chat->second.head = batch->end;
  if (!batch->more) to_read_.erase(chat_id);
  return absl::OkStatus();
}

void WatchHub::OfferLive(std::int64_t chat_id, WatchId id, const EncodedBatch& batch) {
  Watcher& watcher = watchers_.at(id);
  if (watcher.watch->Offer(chat_id, batch)) return;
  if (watcher.behind.empty()) return watcher.watch->End(TooSlow());
  // What waits is mostly what it missed; it is read for here too when there is room again.
  Chat& chat = chats_.at(chat_id);
  chat.live.erase(id);
  chat.behind[id] = &watcher;
  watcher.behind.insert(chat_id);
  QueueBehind(id);
}

absl::Status WatchHub::ReadBehind() {
  for (std::size_t i = 0; i < kCatchUpsAtOnce && !behind_.empty(); ++i) {
    const WatchId id = behind_.front();
    behind_.pop_front();
    const auto watcher = watchers_.find(id);
    if (watcher == watchers_.end()) continue;
    watcher->second.queued = false;
    const std::shared_ptr<Watch> watch = watcher->second.watch;
    // Without room, OnRoom queues it again.
    if (watcher->second.behind.empty() || watch->ended() || !watch->HasRoom()) continue;
    const absl::Status read = CatchUp(id);
    QueueBehind(id);
    PARLEY_RETURN_IF_ERROR(read);
  }
  return absl::OkStatus();
}

absl::Status WatchHub::CatchUp(WatchId id) {
  const Watcher& watcher = watchers_.at(id);
  const std::int64_t chat_id = *watcher.behind.begin();
  const std::optional<ChatPosition> after = watcher.watch->PositionIn(chat_id);
  if (!after) return InternalError("a watch is behind in a chat that it does not follow");
  const auto batch = events_.Read({.chat_id = chat_id, .after = *after}, Patience());
  if (absl::IsNotFound(batch.status())) ChatGone(chat_id);
  if (absl::IsNotFound(batch.status())) return absl::OkStatus();
  PARLEY_RETURN_IF_ERROR(batch.status());
  // Many resume at the same place, when a process was replaced for example: one read serves all.
  std::vector<WatchId> ids;
  for (const auto& [other_id, other] : chats_.at(chat_id).behind) {
    const std::optional<ChatPosition> position = other->watch->PositionIn(chat_id);
    if (other_id == id || (position && Covers(*position, *after) && other->watch->HasRoom())) {
      ids.push_back(other_id);
    }
  }
  if (!batch->events.empty()) PARLEY_RETURN_IF_ERROR(CheckMembers(chat_id, ids));
  const EncodedBatch encoded = Encode(*batch);
  for (const WatchId each : ids) {
    const bool taken = watchers_.at(each).watch->Offer(chat_id, encoded);
    if (taken && !batch->more) MarkLive(each, chat_id, batch->end);
  }
  return absl::OkStatus();
}

absl::Status WatchHub::CheckMembers(std::int64_t chat_id, const std::vector<WatchId>& ids) {
  std::set<std::int64_t> users;
  for (const WatchId id : ids) {
    if (const std::int64_t user_id = watchers_.at(id).watch->user_id(); user_id != 0) {
      users.insert(user_id);
    }
  }
  if (users.empty()) return absl::OkStatus();
  PARLEY_ASSIGN_OR_RETURN(const std::vector<Membership> members,
                          events_.FindMembers(chat_id, {users.begin(), users.end()}, Patience()));
  std::unordered_map<std::int64_t, ChatPosition> joined;
  for (const Membership& member : members) joined[member.user_id] = member.joined;
  for (const WatchId id : ids) {
    const std::shared_ptr<Watch> watch = watchers_.at(id).watch;
    if (watch->user_id() == 0) continue;
    const auto member = joined.find(watch->user_id());
    if (member == joined.end()) {
      Unfollow(id, chat_id);
    } else {
      watch->SkipTo(chat_id, member->second);
    }
  }
  return absl::OkStatus();
}

void WatchHub::MarkLive(WatchId id, std::int64_t chat_id, const ChatPosition& end) {
  const auto found = chats_.find(chat_id);
  if (found == chats_.end() || found->second.behind.erase(id) == 0) return;
  Chat& chat = found->second;
  if (chat.live.empty()) chat.head = end;
  Watcher& watcher = watchers_.at(id);
  watcher.behind.erase(chat_id);
  chat.live[id] = &watcher;
}

void WatchHub::QueueBehind(WatchId id) {
  const auto watcher = watchers_.find(id);
  if (watcher == watchers_.end() || watcher->second.queued || watcher->second.behind.empty()) {
    return;
  }
  watcher->second.queued = true;
  behind_.push_back(id);
}

}  // namespace parley::message
