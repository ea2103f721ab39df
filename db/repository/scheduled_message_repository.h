// Messages to be sent later, in PostgreSQL, with the tasks that send them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "db/core/session_pool.h"
#include "db/model/page.h"
#include "db/model/scheduled_message.h"
#include "db/repository/task_repository.h"

namespace parley::db {

// The request id of the message that a task writes. The blank in it keeps it apart from those of
// callers, so that a task that is run twice writes one message.
std::string RequestIdOfTask(std::int64_t task_id);

// Thread-safe. Every call blocks until `deadline` at most, and may end with UNAVAILABLE or
// DEADLINE_EXCEEDED besides what it says; writes also with ABORTED and UNKNOWN (transaction.h).
class ScheduledMessageRepository {
 public:
  explicit ScheduledMessageRepository(SessionPool& pool) : pool_(pool) {}

  struct ScheduleParams {
    std::int64_t chat_id = 0;
    std::int64_t user_id = 0;
    std::string text;
    std::int64_t reply_to_seq = 0;        // 0: none
    absl::Time run_time;                  // one that has passed means now
    std::optional<LocalTime> local_time;  // resolved, if run_time was made of one
    std::string request_id;               // empty: not remembered
    std::string fingerprint;              // of the content
  };
  // Writes it and its task together. NOT_FOUND: CHAT_NOT_FOUND, MESSAGE_NOT_FOUND.
  // PERMISSION_DENIED: NOT_A_MEMBER, USER_BLOCKED. ALREADY_EXISTS: REQUEST_ID_REUSED.
  absl::StatusOr<ScheduledMessage> Schedule(const ScheduleParams& params, absl::Time deadline);

  // A cancelled one is returned as it is. NOT_FOUND: SCHEDULED_MESSAGE_NOT_FOUND.
  // PERMISSION_DENIED: NOT_PERMITTED, neither its author nor an owner or admin of the chat.
  // FAILED_PRECONDITION: SCHEDULED_MESSAGE_ENDED, it is sent, has failed, or is being sent.
  absl::StatusOr<ScheduledMessage> Cancel(std::int64_t id, std::int64_t user_id,
                                          absl::Time deadline);

  struct ListParams {
    std::int64_t user_id = 0;
    std::int64_t chat_id = 0;                    // 0: all
    std::optional<ScheduledMessageState> state;  // absent: all
    PageParams<std::int64_t> page;               // by id, the greatest first; `after` is an id
  };
  // NOT_FOUND: USER_NOT_FOUND.
  absl::StatusOr<Page<ScheduledMessage, std::int64_t>> List(const ListParams& params,
                                                            absl::Time deadline);

  // Names one.
  struct Key {
    std::int64_t chat_id = 0;
    std::int64_t id = 0;
  };
  // What the task was made with, for the one who works on it; nullopt: it was made by somebody
  // else.
  static std::optional<Key> KeyOf(const Task& task);

  // nullopt: it is gone, with its chat.
  absl::StatusOr<std::optional<ScheduledMessage>> Find(const Key& key, absl::Time deadline);

  // Ends it and its task together. ABORTED: LEASE_LOST, and nothing has changed. One that is no
  // longer kScheduled stays as it is; its task ends.
  absl::Status MarkSent(const Key& key, std::int64_t seq, const LeaseKey& lease,
                        absl::Time deadline);
  absl::Status MarkFailed(const Key& key, absl::string_view reason, const LeaseKey& lease,
                          absl::Time deadline);

 private:
  SessionPool& pool_;
};

}  // namespace parley::db
