// Who watches which chats, from where: at the beginning, and as users join and leave.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/status_macros.h"
#include "db/repository/chat_repository.h"
#include "db/repository/user_repository.h"
#include "services/message/watch_hub.h"

namespace parley::message {
namespace {

// How much of one kind of work is done before the others have their turn.
constexpr std::size_t kOpeningsAtOnce = 32;
constexpr std::size_t kUsersAtOnce = 200;
constexpr std::size_t kChatsAtOnce = 5000;

absl::Status TooManyChats() {
  Violations violations;
  violations.Add("user_id", absl::StrCat("is in more than ", kMaxWatchedChats, " chats"));
  return violations.ToStatus();
}

}  // namespace

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
    members_at_ = std::min(members_at_, SteadyNow() + options_.members_interval);
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
  if (SteadyNow() >= members_at_) {
    for (const auto& [user_id, ids] : users_) to_refresh_.insert(user_id);
    members_at_ = SteadyNow() + options_.members_interval;
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
  const bool at_all = SteadyNow() >= look_at_;
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
  if (at_all) look_at_ = SteadyNow() + options_.look_interval;
  return absl::OkStatus();
}

}  // namespace parley::message
