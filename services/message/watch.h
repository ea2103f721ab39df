// One watch: where it is in each of its chats, what is yet to be sent, and its frames.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "db/model/message_event.h"
#include "services/message/watch_token.h"
#include "services/runtime/stream.h"

namespace parley::message {

// An event, serialized once for all who watch the chat.
struct EncodedEvent {
  bool is_sent = false;     // otherwise a change
  std::int64_t number = 0;  // its seq if sent, its event number if changed
  std::string bytes;        // a WatchMessagesResponse with nothing but the event
};

// What happened in a chat between two positions: messages first, then changes.
struct EncodedBatch {
  std::vector<std::shared_ptr<const EncodedEvent>> events;
  std::size_t bytes = 0;
  ChatPosition end;
};

// Thread-safe. Frames are made when the stream has room for one, of all that waits then.
class Watch {
 public:
  struct Options {
    std::int64_t user_id = 0;  // 0: a watch of chats
    absl::Duration heartbeat = absl::Seconds(15);
    std::size_t max_queued = 1024 * 1024;         // bytes of events that may wait
    absl::Time move_at = absl::InfiniteFuture();  // when it is to go on elsewhere
  };
  Watch(Options options, std::shared_ptr<runtime::Stream> stream)
      : options_(options), stream_(std::move(stream)) {}

  std::int64_t user_id() const { return options_.user_id; }
  absl::Time move_at() const { return options_.move_at; }

  enum class FirstFrame { kAtOnce, kWithEvents };
  // Begins at `positions`; nothing is sent before.
  void Begin(const WatchPositions& positions, FirstFrame first_frame);

  // Follows another chat from a position on; what was to be sent of a chat is dropped with it.
  void Add(std::int64_t chat_id, const ChatPosition& position);
  void Remove(std::int64_t chat_id);

  // Leaves out what lies before `position`.
  void SkipTo(std::int64_t chat_id, const ChatPosition& position);

  // Where reading of a chat has to go on; nullopt if the watch does not follow it.
  std::optional<ChatPosition> PositionIn(std::int64_t chat_id) const;

  // Takes what it has not seen of a batch that begins at a position which the watch covers. False,
  // and nothing is taken, if too much waits already.
  bool Offer(std::int64_t chat_id, const EncodedBatch& batch);

  // Whether there is room for another batch. If not, OnRoom tells when there is.
  bool HasRoom();

  // The stream can take a frame. True if that makes the room which HasRoom missed.
  bool OnRoom();

  // Sends an empty frame if nothing was sent for so long; returns when to ask again.
  absl::Time Beat(absl::Time now);

  // Drops what waits. The first end counts.
  void End(const absl::Status& status);
  bool ended() const;
  // The same, after a frame with the last resume token, if the stream has room for one.
  void SendHome(const absl::Status& status);

 private:
  struct Place {
    ChatPosition read;       // what was read for the watch
    ChatPosition sent;       // what is in frames; counts while something waits
    std::size_t queued = 0;  // how many events wait
  };
  struct Queued {
    std::int64_t chat_id = 0;
    std::shared_ptr<const EncodedEvent> event;
    ChatPosition after;  // the watch's position in the chat once it is sent
  };

  bool Fits(std::size_t bytes) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Flush() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Send(std::string events) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::string Token() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Options options_;
  const std::shared_ptr<runtime::Stream> stream_;
  mutable Mutex mutex_;
  std::map<std::int64_t, Place> places_ ABSL_GUARDED_BY(mutex_);
  std::deque<Queued> queue_ ABSL_GUARDED_BY(mutex_);
  std::size_t queued_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Time sent_at_ ABSL_GUARDED_BY(mutex_) = absl::InfiniteFuture();
  bool begun_ ABSL_GUARDED_BY(mutex_) = false;
  bool busy_ ABSL_GUARDED_BY(mutex_) = false;  // the stream has not taken the last frame yet
  bool wants_room_ ABSL_GUARDED_BY(mutex_) = false;
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace parley::message
