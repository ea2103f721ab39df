#include "services/message/watch_hub.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "db/repository/chat_repository.h"
#include "db/repository/user_repository.h"
#include "parley/message/v1/message_service.pb.h"
#include "services/message/message_convert.h"
#include "services/runtime/log.h"

namespace parley::message {
namespace {

constexpr absl::Duration kDatabasePatience = absl::Seconds(5);
constexpr absl::Duration kFirstPause = absl::Milliseconds(50);
constexpr absl::Duration kLongestPause = absl::Seconds(1);
// Between rounds of reading what is new: under load a round then finds several messages of a chat.
constexpr absl::Duration kReadSpacing = absl::Milliseconds(2);
// How much of one kind of work is done before the others have their turn.
constexpr std::size_t kOpeningsAtOnce = 32;
constexpr std::size_t kUsersAtOnce = 200;
constexpr std::size_t kChatsAtOnce = 5000;
constexpr std::size_t kCatchUpsAtOnce = 8;

absl::Time Patience() { return absl::Now() + kDatabasePatience; }

absl::Status Draining() {
  return Error(absl::StatusCode::kUnavailable, reason::kDraining,
               "the server is going down; resume the watch at another");
}

absl::Status Full() {
  return WithRetryDelay(Error(absl::StatusCode::kResourceExhausted, reason::kQueueFull,
                              "this process has no room for more watches; try another"),
                        absl::Seconds(1));
}

absl::Status TooSlow() {
  return Error(absl::StatusCode::kResourceExhausted, reason::kWatcherTooSlow,
               "the caller reads slower than messages come; resume the watch");
}

absl::Status TooManyChats() {
  Violations violations;
  violations.Add("user_id", absl::StrCat("is in more than ", kMaxWatchedChats, " chats"));
  return violations.ToStatus();
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

bool WatchHub::Inbox::empty() const {
  return openings.empty() && over.empty() && with_room.empty() && changed.empty() &&
         hinted.empty() && users.empty() && !all_chats && !all_users && !stop;
}

WatchHub::WatchHub(db::EventRepository& events, db::Notifier& notifier, Options options)
    : events_(events),
      notifier_(notifier),
      options_(options),
      reader_([this] { Read(); }),
      beat_([this] { Beat(); }) {}

WatchHub::~WatchHub() {
  Drain();
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    inbox_.stop = true;
  }
  wake_reader_.NotifyOne();
  wake_beat_.NotifyOne();
  reader_.join();
  beat_.join();
}

void WatchHub::Open(WatchDemand demand, const std::shared_ptr<runtime::Stream>& stream) {
  const auto watch = std::make_shared<Watch>(Watch::Options{.user_id = demand.user_id,
                                                            .heartbeat = demand.heartbeat,
                                                            .max_queued = options_.max_queued},
                                             stream);
  WatchId id = 0;
  absl::Status refused;
  {
    MutexLock lock(mutex_);
    if (draining_) {
      refused = Draining();
    } else if (watches_.size() >= options_.max_watches) {
      refused = Full();
    } else {
      id = ++last_id_;
      watches_[id] = watch;
      beats_.emplace(absl::Now() + demand.heartbeat, id);
    }
  }
  if (!refused.ok()) return stream->End(refused);
  wake_beat_.NotifyOne();
  stream->Attach({.on_room =
                      [this, id, watch] {
                        if (watch->OnRoom()) Room(id);
                      },
                  .on_over = [this, id] { Over(id); }});
  {
    MutexLock lock(mutex_);
    if (!watches_.contains(id)) return;  // over already
    inbox_.openings.push_back({id, std::move(demand), watch});
  }
  wake_reader_.NotifyOne();
}

void WatchHub::Changed(std::int64_t chat_id) {
  notifier_.Notify(chat_id);
  {
    MutexLock lock(mutex_);
    if (watches_.empty()) return;
    inbox_.changed.insert(chat_id);
  }
  wake_reader_.NotifyOne();
}

void WatchHub::HintChats(absl::string_view payload) {
  const std::vector<std::int64_t> ids = db::IdsOfHint(payload);
  {
    MutexLock lock(mutex_);
    if (watches_.empty()) return;
    inbox_.hinted.insert(ids.begin(), ids.end());
    if (ids.empty()) inbox_.all_chats = true;
  }
  wake_reader_.NotifyOne();
}

void WatchHub::HintMembers(absl::string_view payload) {
  const std::vector<std::int64_t> ids = db::IdsOfHint(payload);
  {
    MutexLock lock(mutex_);
    if (watches_.empty()) return;
    inbox_.users.insert(ids.begin(), ids.end());
    if (ids.empty()) inbox_.all_users = true;
  }
  wake_reader_.NotifyOne();
}

void WatchHub::Drain() {
  std::vector<std::shared_ptr<Watch>> watches;
  {
    MutexLock lock(mutex_);
    draining_ = true;
    for (const auto& [id, watch] : watches_) watches.push_back(watch);
  }
  for (const std::shared_ptr<Watch>& watch : watches) watch->End(Draining());
}

void WatchHub::Room(WatchId id) {
  {
    MutexLock lock(mutex_);
    inbox_.with_room.push_back(id);
  }
  wake_reader_.NotifyOne();
}

void WatchHub::Over(WatchId id) {
  // The last notification is sent under the lock: when the last stream is over, the hub may go.
  MutexLock lock(mutex_);
  watches_.erase(id);
  inbox_.over.push_back(id);
  wake_reader_.NotifyOne();
}

void WatchHub::Read() {
  while (Collect()) {
    if (absl::Now() >= attempt_at_) NoteOutcome(Work());
  }
}

bool WatchHub::Collect() {
  Inbox inbox;
  {
    MutexLock lock(mutex_);
    while (inbox_.empty()) {
      const absl::Time next = NextWork();
      if (absl::Now() >= next) break;
      wake_reader_.WaitUntil(mutex_, next);
    }
    std::swap(inbox, inbox_);
  }
  for (Opening& opening : inbox.openings) openings_.push_back(std::move(opening));
  for (const WatchId id : inbox.over) Forget(id);
  for (const WatchId id : inbox.with_room) QueueBehind(id);
  for (const std::int64_t chat_id : inbox.changed) {
    if (chats_.contains(chat_id)) to_read_.insert(chat_id);
  }
  for (const std::int64_t chat_id : inbox.hinted) {
    if (chats_.contains(chat_id)) to_look_at_.insert(chat_id);
  }
  for (const std::int64_t user_id : inbox.users) {
    if (users_.contains(user_id)) to_refresh_.insert(user_id);
  }
  if (inbox.all_chats) look_at_ = absl::InfinitePast();
  if (inbox.all_users) members_at_ = absl::InfinitePast();
  return !inbox.stop;
}

absl::Time WatchHub::NextWork() const {
  absl::Time next = absl::InfiniteFuture();
  if (!openings_.empty() || !to_look_at_.empty() || !to_refresh_.empty() || !behind_.empty()) {
    next = absl::InfinitePast();
  }
  if (!to_read_.empty()) next = std::min(next, read_at_);
  if (!chats_.empty()) next = std::min(next, look_at_);
  if (!users_.empty()) next = std::min(next, members_at_);
  return std::max(next, attempt_at_);
}

absl::Status WatchHub::Work() {
  PARLEY_RETURN_IF_ERROR(OpenAll());
  PARLEY_RETURN_IF_ERROR(RefreshMembers());
  PARLEY_RETURN_IF_ERROR(Look());
  PARLEY_RETURN_IF_ERROR(ReadLive());
  return ReadBehind();
}

void WatchHub::NoteOutcome(const absl::Status& status) {
  const bool was_out = std::exchange(out_, !status.ok());
  // Logged once when it begins and once when it ends, not for every attempt.
  if (status.ok()) {
    if (was_out) runtime::Log(runtime::LogLevel::kInfo, "watching goes on");
    pause_ = absl::ZeroDuration();
    attempt_at_ = absl::InfinitePast();
    return;
  }
  if (!was_out) {
    runtime::Log(runtime::LogLevel::kWarn, "watching waits for the database",
                 {{"error", std::string(status.message())}});
  }
  pause_ = std::clamp(pause_ * 2, kFirstPause, kLongestPause);
  attempt_at_ = absl::Now() + pause_;
}

absl::Status WatchHub::OpenAll() {
  while (!openings_.empty()) {
    const auto end = openings_.begin() +
                     static_cast<std::ptrdiff_t>(std::min(openings_.size(), kOpeningsAtOnce));
    const std::vector<Opening> some(openings_.begin(), end);
    openings_.erase(openings_.begin(), end);
    if (absl::Status opened = OpenSome(some); !opened.ok()) {
      // Who has only just come is better told than kept waiting.
      for (const Opening& opening : some) opening.watch->End(opened);
      return opened;
    }
  }
  return absl::OkStatus();
}

absl::Status WatchHub::OpenSome(const std::vector<Opening>& openings) {
  std::vector<std::int64_t> user_ids;
  std::set<std::int64_t> chat_ids;
  for (const Opening& opening : openings) {
    if (opening.demand.user_id != 0) user_ids.push_back(opening.demand.user_id);
    chat_ids.insert(opening.demand.chat_ids.begin(), opening.demand.chat_ids.end());
  }
  PARLEY_ASSIGN_OR_RETURN(const Memberships memberships, MembershipsOf(user_ids));
  for (const auto& [user_id, list] : memberships) {
    for (const Membership& membership : list) chat_ids.insert(membership.chat_id);
  }
  PARLEY_ASSIGN_OR_RETURN(const Positions now, PositionsOf(chat_ids));

  for (const Opening& opening : openings) {
    const std::optional<WatchPositions>& after = opening.demand.after;
    // Where a chat is gone on with; no position is beyond the chat's own, whatever a token says.
    const auto place = [&](std::int64_t chat_id) -> std::optional<ChatPosition> {
      const auto found = after ? after->find(chat_id) : WatchPositions::const_iterator();
      if (!after || found == after->end()) return std::nullopt;
      return Min(found->second, now.at(chat_id));
    };
    WatchPositions from;
    bool begins_now = !after;
    absl::Status refused;
    for (const std::int64_t chat_id : opening.demand.chat_ids) {
      if (!now.contains(chat_id)) {
        refused = db::ChatNotFound(chat_id);
        break;
      }
      const std::optional<ChatPosition> known = place(chat_id);
      from[chat_id] = known.value_or(now.at(chat_id));
      begins_now = begins_now || !known;
    }
    if (const std::int64_t user_id = opening.demand.user_id; user_id != 0) {
      const auto list = memberships.find(user_id);
      if (list == memberships.end()) {
        refused = db::UserNotFound(user_id);
      } else if (list->second.size() > kMaxWatchedChats) {
        refused = TooManyChats();
      } else {
        for (const Membership& membership : list->second) {
          const auto top = now.find(membership.chat_id);
          if (top == now.end()) continue;  // deleted at this moment
          from[membership.chat_id] =
              after ? Max(place(membership.chat_id).value_or(membership.joined), membership.joined)
                    : top->second;
        }
      }
    }
    if (refused.ok()) {
      OpenOne(opening, from, begins_now, now);
    } else {
      opening.watch->End(refused);
    }
  }
  return absl::OkStatus();
}

void WatchHub::OpenOne(const Opening& opening, const WatchPositions& from, bool begins_now,
                       const Positions& now) {
  watchers_[opening.id].watch = opening.watch;
  if (opening.watch->user_id() != 0) {
    users_[opening.watch->user_id()].insert(opening.id);
    members_at_ = std::min(members_at_, absl::Now() + options_.members_interval);
  }
  opening.watch->Begin(from,
                       begins_now ? Watch::FirstFrame::kAtOnce : Watch::FirstFrame::kWithEvents);
  for (const auto& [chat_id, position] : from) {
    Follow(opening.id, chat_id, position, now.at(chat_id));
  }
}

void WatchHub::Follow(WatchId id, std::int64_t chat_id, const ChatPosition& from,
                      const ChatPosition& now) {
  Watcher& watcher = watchers_.at(id);
  Chat& chat = chats_[chat_id];
  if (chat.live.empty()) {
    chat.head = now;
  } else if (!Covers(chat.head, now)) {
    to_read_.insert(chat_id);
  }
  watcher.chats.insert(chat_id);
  if (Covers(from, chat.head)) {
    chat.live[id] = &watcher;
  } else {
    chat.behind[id] = &watcher;
    watcher.behind.insert(chat_id);
    QueueBehind(id);
  }
}

void WatchHub::Unfollow(WatchId id, std::int64_t chat_id) {
  Watcher& watcher = watchers_.at(id);
  watcher.watch->Remove(chat_id);
  watcher.chats.erase(chat_id);
  watcher.behind.erase(chat_id);
  const auto chat = chats_.find(chat_id);
  if (chat == chats_.end()) return;
  chat->second.live.erase(id);
  chat->second.behind.erase(id);
  if (chat->second.live.empty() && chat->second.behind.empty()) chats_.erase(chat);
}

void WatchHub::Forget(WatchId id) {
  std::erase_if(openings_, [id](const Opening& opening) { return opening.id == id; });
  const auto watcher = watchers_.find(id);
  if (watcher == watchers_.end()) return;
  const std::set<std::int64_t> chats = watcher->second.chats;
  for (const std::int64_t chat_id : chats) Unfollow(id, chat_id);
  if (const auto user = users_.find(watcher->second.watch->user_id()); user != users_.end()) {
    user->second.erase(id);
    if (user->second.empty()) users_.erase(user);
  }
  watchers_.erase(watcher);
}

void WatchHub::ChatGone(std::int64_t chat_id) {
  const auto chat = chats_.find(chat_id);
  if (chat == chats_.end()) return;
  std::vector<WatchId> ids;
  for (const auto& [id, watcher] : chat->second.live) ids.push_back(id);
  for (const auto& [id, watcher] : chat->second.behind) ids.push_back(id);
  for (const WatchId id : ids) {
    const std::shared_ptr<Watch> watch = watchers_.at(id).watch;
    Unfollow(id, chat_id);
    // A user has left a chat that is gone; who named the chat is to know.
    if (watch->user_id() == 0) watch->End(db::ChatNotFound(chat_id));
  }
}

absl::StatusOr<WatchHub::Memberships> WatchHub::MembershipsOf(
    const std::vector<std::int64_t>& user_ids) {
  Memberships memberships;
  if (user_ids.empty()) return memberships;
  PARLEY_ASSIGN_OR_RETURN(const std::vector<std::int64_t> known,
                          events_.FindUsers(user_ids, Patience()));
  for (const std::int64_t user_id : known) memberships[user_id];
  PARLEY_ASSIGN_OR_RETURN(const std::vector<Membership> rows,
                          events_.ListMemberships(user_ids, Patience()));
  for (const Membership& row : rows) memberships[row.user_id].push_back(row);
  return memberships;
}

absl::StatusOr<WatchHub::Positions> WatchHub::PositionsOf(const std::set<std::int64_t>& chat_ids) {
  Positions positions;
  std::vector<std::int64_t> some;
  for (auto it = chat_ids.begin(); it != chat_ids.end();) {
    some.push_back(*it++);
    if (some.size() < kChatsAtOnce && it != chat_ids.end()) continue;
    PARLEY_ASSIGN_OR_RETURN(Positions found, events_.FindPositions(some, Patience()));
    positions.merge(found);
    some.clear();
  }
  return positions;
}

absl::Status WatchHub::RefreshMembers() {
  if (absl::Now() >= members_at_) {
    for (const auto& [user_id, ids] : users_) to_refresh_.insert(user_id);
    members_at_ = absl::Now() + options_.members_interval;
  }
  std::vector<std::int64_t> some;
  while (!to_refresh_.empty()) {
    some.assign(to_refresh_.begin(),
                std::next(to_refresh_.begin(),
                          static_cast<std::ptrdiff_t>(std::min(to_refresh_.size(), kUsersAtOnce))));
    PARLEY_RETURN_IF_ERROR(RefreshSome(some));
    for (const std::int64_t user_id : some) to_refresh_.erase(user_id);
  }
  return absl::OkStatus();
}

absl::Status WatchHub::RefreshSome(const std::vector<std::int64_t>& user_ids) {
  PARLEY_ASSIGN_OR_RETURN(const std::vector<Membership> rows,
                          events_.ListMemberships(user_ids, Patience()));
  std::unordered_map<std::int64_t, std::map<std::int64_t, ChatPosition>> joined;  // by user, chat
  for (const Membership& row : rows) joined[row.user_id][row.chat_id] = row.joined;
  std::set<std::int64_t> entered;
  for (const Membership& row : rows) {
    const auto user = users_.find(row.user_id);
    if (user == users_.end()) continue;
    for (const WatchId id : user->second) {
      if (!watchers_.at(id).chats.contains(row.chat_id)) entered.insert(row.chat_id);
    }
  }
  PARLEY_ASSIGN_OR_RETURN(const Positions now, PositionsOf(entered));

  for (const std::int64_t user_id : user_ids) {
    const auto user = users_.find(user_id);
    if (user == users_.end()) continue;
    const std::map<std::int64_t, ChatPosition>& in = joined[user_id];
    for (const WatchId id : user->second) {
      Watcher& watcher = watchers_.at(id);
      if (in.size() > kMaxWatchedChats) {
        watcher.watch->End(TooManyChats());
        continue;
      }
      const std::set<std::int64_t> before = watcher.chats;
      for (const std::int64_t chat_id : before) {
        if (!in.contains(chat_id)) Unfollow(id, chat_id);
      }
      for (const auto& [chat_id, position] : in) {
        if (before.contains(chat_id)) {
          watcher.watch->SkipTo(chat_id, position);
        } else if (const auto top = now.find(chat_id); top != now.end()) {
          watcher.watch->Add(chat_id, position);
          Follow(id, chat_id, position, top->second);
        }
      }
    }
  }
  return absl::OkStatus();
}

absl::Status WatchHub::Look() {
  const bool at_all = absl::Now() >= look_at_;
  std::vector<std::pair<std::int64_t, ChatPosition>> known;
  if (at_all) {
    for (const auto& [chat_id, chat] : chats_) {
      if (!chat.live.empty()) known.emplace_back(chat_id, chat.head);
    }
  } else {
    for (const std::int64_t chat_id : to_look_at_) {
      const auto chat = chats_.find(chat_id);
      if (chat != chats_.end() && !chat->second.live.empty()) {
        known.emplace_back(chat_id, chat->second.head);
      }
    }
  }
  for (std::size_t begin = 0; begin < known.size(); begin += kChatsAtOnce) {
    const std::size_t end = std::min(known.size(), begin + kChatsAtOnce);
    PARLEY_ASSIGN_OR_RETURN(const std::vector<std::int64_t> moved,
                            events_.FindMoved({known.begin() + static_cast<std::ptrdiff_t>(begin),
                                               known.begin() + static_cast<std::ptrdiff_t>(end)},
                                              Patience()));
    to_read_.insert(moved.begin(), moved.end());
  }
  to_look_at_.clear();
  if (at_all) look_at_ = absl::Now() + options_.look_interval;
  return absl::OkStatus();
}

absl::Status WatchHub::ReadLive() {
  if (to_read_.empty() || absl::Now() < read_at_) return absl::OkStatus();
  read_at_ = absl::Now() + kReadSpacing;
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

void WatchHub::Beat() {
  WatchId id = 0;
  while (const std::shared_ptr<Watch> watch = NextBeat(id)) {
    const absl::Time next = watch->Beat(absl::Now());
    MutexLock lock(mutex_);
    beats_.emplace(next, id);
  }
}

std::shared_ptr<Watch> WatchHub::NextBeat(WatchId& id) {
  MutexLock lock(mutex_);
  while (!stopping_) {
    if (beats_.empty() || beats_.begin()->first > absl::Now()) {
      wake_beat_.WaitUntil(mutex_, beats_.empty() ? absl::InfiniteFuture() : beats_.begin()->first);
      continue;
    }
    id = beats_.begin()->second;
    beats_.erase(beats_.begin());
    if (const auto watch = watches_.find(id); watch != watches_.end()) return watch->second;
  }
  return nullptr;
}

}  // namespace parley::message
