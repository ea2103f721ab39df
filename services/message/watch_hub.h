// All watches of a process, fed by one reader.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "db/repository/event_repository.h"
#include "db/repository/notifier.h"
#include "services/message/watch.h"
#include "services/message/watch_token.h"
#include "services/runtime/stream.h"

namespace parley::message {

// What a caller wants to watch.
struct WatchDemand {
  std::vector<std::int64_t> chat_ids;   // each once; or
  std::int64_t user_id = 0;             // all chats of this user
  std::optional<WatchPositions> after;  // of a resume token
  absl::Duration heartbeat = absl::Seconds(15);
};

// One thread reads, with one query at a time, however many watch: what is new in a chat is read
// once and handed to all who watch it and are up to date. It learns that there is something new
// from
//   Changed        this process has written
//   Hint           another one has (LISTEN)
//   a look         at all watched chats every second, and at the memberships of watching users
//                  every two, for hints that were lost
// A watch that resumes behind is read for in batches, in turn with all others, while it has room,
// until it is up to date. Another thread sends the heartbeats.
//
// For a chat with watching users, who is still a member is read after the events and before they
// are shown; so who has left sees nothing of what came later, and who has come back goes on at the
// new joining.
//
// While the database is away, watches stay; nothing is lost, and attempts are spaced by a growing
// pause. Thread-safe.
class WatchHub {
 public:
  struct Options {
    std::size_t max_watches = 5000;
    std::size_t max_queued = 1024 * 1024;  // bytes of events that may wait for one caller
    absl::Duration look_interval = absl::Seconds(1);
    absl::Duration members_interval = absl::Seconds(2);
    absl::Duration max_age = absl::InfiniteDuration();  // of a watch; -10 % at random
  };

  // Starts the threads. What it is given must outlive the hub.
  WatchHub(db::EventRepository& events, db::Notifier& notifier, Options options);
  WatchHub(db::EventRepository& events, db::Notifier& notifier)
      : WatchHub(events, notifier, Options()) {}
  ~WatchHub();  // Drain(), then ends the threads; all streams must be over

  WatchHub(const WatchHub&) = delete;
  WatchHub& operator=(const WatchHub&) = delete;

  // Feeds the stream until it ends. Does not block; what is wrong ends the stream: NOT_FOUND
  // (CHAT_NOT_FOUND, USER_NOT_FOUND), INVALID_ARGUMENT (the user has too many chats),
  // RESOURCE_EXHAUSTED (QUEUE_FULL; later WATCHER_TOO_SLOW), UNAVAILABLE (DRAINING; STREAM_TOO_OLD;
  // or the database is away at the start).
  void Open(WatchDemand demand, const std::shared_ptr<runtime::Stream>& stream);

  // This process has written something into the chat, committed. Others are told by a notification.
  void Changed(std::int64_t chat_id);

  // What a notification on kMessageChannel or kMemberChannel says.
  void HintChats(absl::string_view payload);
  void HintMembers(absl::string_view payload);

  // How many streams it feeds.
  std::size_t watches() ABSL_LOCKS_EXCLUDED(mutex_);

  // Ends all watches to come with UNAVAILABLE, reason DRAINING. Idempotent.
  void RefuseNew();
  // And all that there are, after a frame with their last resume token. Idempotent.
  void Drain();

 private:
  using WatchId = std::int64_t;
  using Positions = db::EventRepository::Positions;
  using Memberships = std::unordered_map<std::int64_t, std::vector<Membership>>;  // by user

  struct Opening {
    WatchId id = 0;
    WatchDemand demand;
    std::shared_ptr<Watch> watch;
  };
  // What others have left for the reader.
  struct Inbox {
    std::vector<Opening> openings;
    std::vector<WatchId> over;
    std::vector<WatchId> with_room;
    std::set<std::int64_t> changed;  // chats
    std::set<std::int64_t> hinted;   // chats
    std::set<std::int64_t> users;
    bool all_chats = false;
    bool all_users = false;
    bool stop = false;
    bool empty() const;
  };
  // What the reader knows of a watch.
  struct Watcher {
    std::shared_ptr<Watch> watch;
    std::set<std::int64_t> chats;
    std::set<std::int64_t> behind;  // those of the chats in which it is not up to date
    bool queued = false;            // in behind_
  };
  // A watched chat.
  struct Chat {
    ChatPosition head;                             // what all who are up to date cover
    std::unordered_map<WatchId, Watcher*> live;    // who is up to date
    std::unordered_map<WatchId, Watcher*> behind;  // who is not
  };

  void Room(WatchId id) ABSL_LOCKS_EXCLUDED(mutex_);
  void Over(WatchId id) ABSL_LOCKS_EXCLUDED(mutex_);

  // The reader's thread. No question to the database takes longer than until Patience().
  static absl::Time Patience() { return SteadyNow() + absl::Seconds(5); }
  void Read();
  bool Collect() ABSL_LOCKS_EXCLUDED(mutex_);  // false: stop
  absl::Time NextWork() const;
  absl::Status Work();
  void NoteOutcome(const absl::Status& status);

  absl::Status OpenAll();
  absl::Status OpenSome(const std::vector<Opening>& openings);
  void OpenOne(const Opening& opening, const WatchPositions& from, bool begins_now,
               const Positions& now);
  void Follow(WatchId id, std::int64_t chat_id, const ChatPosition& from, const ChatPosition& now);
  void Unfollow(WatchId id, std::int64_t chat_id);
  void Forget(WatchId id);
  void ChatGone(std::int64_t chat_id);

  absl::Status RefreshMembers();
  absl::Status RefreshSome(const std::vector<std::int64_t>& user_ids);
  absl::Status Look();
  absl::StatusOr<Memberships> MembershipsOf(const std::vector<std::int64_t>& user_ids);
  absl::StatusOr<Positions> PositionsOf(const std::set<std::int64_t>& chat_ids);

  absl::Status ReadLive();
  absl::Status ReadChat(std::int64_t chat_id);
  absl::Status ReadBehind();
  absl::Status CatchUp(WatchId id);
  absl::Status CheckMembers(std::int64_t chat_id, const std::vector<WatchId>& ids);
  void OfferLive(std::int64_t chat_id, WatchId id, const EncodedBatch& batch);
  void MarkLive(WatchId id, std::int64_t chat_id, const ChatPosition& end);
  void QueueBehind(WatchId id);

  // The heartbeats' thread.
  void Beat();
  // Waits until a heartbeat may be due; null: stop.
  std::shared_ptr<Watch> NextBeat(WatchId& id) ABSL_LOCKS_EXCLUDED(mutex_);

  db::EventRepository& events_;
  db::Notifier& notifier_;
  const Options options_;

  Mutex mutex_;
  CondVar wake_reader_;
  CondVar wake_beat_;
  Inbox inbox_ ABSL_GUARDED_BY(mutex_);
  std::unordered_map<WatchId, std::shared_ptr<Watch>> watches_ ABSL_GUARDED_BY(mutex_);
  std::set<std::pair<absl::Time, WatchId>> beats_ ABSL_GUARDED_BY(mutex_);
  WatchId last_id_ ABSL_GUARDED_BY(mutex_) = 0;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  // The reader's own.
  std::unordered_map<WatchId, Watcher> watchers_;
  std::unordered_map<std::int64_t, Chat> chats_;
  std::unordered_map<std::int64_t, std::set<WatchId>> users_;
  std::vector<Opening> openings_;
  std::set<std::int64_t> to_read_;     // chats
  std::set<std::int64_t> to_look_at_;  // chats
  std::set<std::int64_t> to_refresh_;  // users
  std::deque<WatchId> behind_;         // who is read for next
  absl::Time look_at_ = absl::InfinitePast();
  absl::Time members_at_ = absl::InfinitePast();
  absl::Time read_at_ = absl::InfinitePast();     // live chats, not earlier
  absl::Time attempt_at_ = absl::InfinitePast();  // after a failure: not earlier
  absl::Duration pause_ = absl::ZeroDuration();
  bool out_ = false;

  std::thread reader_;  // the last members: they use all others
  std::thread beat_;
};

}  // namespace parley::message
