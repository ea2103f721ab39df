#include "services/message/scheduled_sender.h"

#include <algorithm>
#include <optional>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fingerprint.h"
#include "base/status_macros.h"
#include "services/message/schedule_rules.h"

namespace parley::message {
namespace {

constexpr absl::Duration kSendPatience = absl::Seconds(5);

db::MessageRepository::SendParams MessageOf(const ScheduledMessage& scheduled) {
  return {.chat_id = scheduled.chat_id,
          .user_id = scheduled.user_id,
          .text = scheduled.text,
          .reply_to_seq = scheduled.reply_to_seq,
          .request_id = db::RequestIdOfTask(scheduled.task_id),
          .fingerprint = Fingerprint({scheduled.text, absl::StrCat(scheduled.reply_to_seq)})};
}

// The seq of what was sent, now or by an attempt before, even if the chat has stopped keeping it.
std::optional<std::int64_t> SeqOf(const absl::StatusOr<Message>& sent) {
  if (sent.ok()) return sent->seq;
  const ErrorDetails details = DetailsOf(sent.status());
  if (details.reason != reason::kMessageExpired) return std::nullopt;
  std::int64_t seq = 0;
  for (const auto& [name, value] : details.metadata) {
    if (name == "seq" && absl::SimpleAtoi(value, &seq)) return seq;
  }
  return std::nullopt;
}

}  // namespace

jobs::Outcome ScheduledSender::Run(const jobs::Job& job) const {
  const absl::Status ended = SendAndEnd(job);
  const std::string why = DetailsOf(ended).reason;
  // Whoever has the lease now finds the message by its request id.
  if (ended.ok() || why == reason::kLeaseLost) return {};
  return {jobs::Outcome::Kind::kRetry, why};
}

absl::Status ScheduledSender::SendAndEnd(const jobs::Job& job) const {
  // Nothing may be sent once the task can be cancelled again.
  const absl::Time deadline = std::min(SteadyNow() + kSendPatience, job.lease_until);
  const auto key = db::ScheduledMessageRepository::KeyOf(job.task);
  std::optional<ScheduledMessage> scheduled;
  if (key) {
    PARLEY_ASSIGN_OR_RETURN(scheduled, scheduled_.Find(*key, deadline));
  }
  if (!scheduled || scheduled->task_id != job.task.id ||
      scheduled->state != ScheduledMessageState::kScheduled) {
    return tasks_.AckTask(job.lease, deadline);  // its chat, or its author, is gone
  }
  const absl::StatusOr<Message> sent = send_(MessageOf(*scheduled), deadline);
  if (const std::optional<std::int64_t> seq = SeqOf(sent)) {
    return scheduled_.MarkSent(*key, *seq, job.lease, SteadyNow() + kSendPatience);
  }
  if (IsWorthRetrying(sent.status())) return sent.status();
  return scheduled_.MarkFailed(*key, DetailsOf(sent.status()).reason, job.lease,
                               SteadyNow() + kSendPatience);
}

}  // namespace parley::message
