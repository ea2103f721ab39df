// Sends scheduled messages when their time has come.
#pragma once

#include <functional>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "db/repository/message_repository.h"
#include "db/repository/scheduled_message_repository.h"
#include "services/jobs/worker.h"

namespace parley::message {

// The handler of the tasks in kScheduledMessagesQueue. Exactly once: the message is written under
// the task's own request id, so that a repeat finds it; then the scheduled message and its task end
// in one transaction. Thread-safe.
class ScheduledSender {
 public:
  // Writes a message, as MessageRepository::Send does. Thread-safe.
  using Send = std::function<absl::StatusOr<Message>(const db::MessageRepository::SendParams&,
                                                     absl::Time deadline)>;

  // `scheduled` and `tasks` must outlive the sender.
  ScheduledSender(db::ScheduledMessageRepository& scheduled, db::TaskRepository& tasks, Send send)
      : scheduled_(scheduled), tasks_(tasks), send_(std::move(send)) {}

  jobs::Outcome Run(const jobs::Job& job) const;

 private:
  absl::Status SendAndEnd(const jobs::Job& job) const;

  db::ScheduledMessageRepository& scheduled_;
  db::TaskRepository& tasks_;
  const Send send_;
};

}  // namespace parley::message
