#include "services/message/retention_keeper.h"

#include <cstdint>
#include <string>
#include <vector>

#include "absl/random/random.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "services/runtime/log.h"

namespace parley::message {
namespace {

constexpr absl::Duration kInterval = absl::Seconds(1);
constexpr absl::Duration kStepPatience = absl::Seconds(5);
constexpr std::int32_t kChatsARound = 100;

}  // namespace

RetentionKeeper::RetentionKeeper(db::RetentionRepository& retention)
    : retention_(retention), thread_([this] { Run(); }) {}

RetentionKeeper::~RetentionKeeper() {
  Drain();
  thread_.join();
}

void RetentionKeeper::Drain() {
  MutexLock lock(mutex_);
  stopping_ = true;
  wake_.NotifyAll();
}

bool RetentionKeeper::Stopping() {
  MutexLock lock(mutex_);
  return stopping_;
}

void RetentionKeeper::Run() {
  absl::BitGen random;
  while (true) {
    const absl::StatusOr<bool> more = TendSome();
    NoteOutcome(more.status());
    if (more.ok() && *more && !Stopping()) continue;
    // Not all processes at once.
    const absl::Time next = SteadyNow() + kInterval * absl::Uniform(random, 0.8, 1.0);
    MutexLock lock(mutex_);
    while (!stopping_ && SteadyNow() < next) wake_.WaitUntil(mutex_, next);
    if (stopping_) return;
  }
}

absl::StatusOr<bool> RetentionKeeper::TendSome() {
  using Tended = db::RetentionRepository::Tended;
  PARLEY_ASSIGN_OR_RETURN(const std::vector<std::int64_t> chats,
                          retention_.FindChats(kChatsARound, SteadyNow() + kStepPatience));
  absl::Status trouble;
  bool rested = false;
  bool purged = false;
  for (const std::int64_t chat_id : chats) {
    if (Stopping()) return false;
    const absl::StatusOr<Tended> tended = retention_.Tend(chat_id, SteadyNow() + kStepPatience);
    if (absl::IsUnavailable(tended.status())) return tended.status();
    trouble.Update(tended.status());  // one chat's trouble is not to keep the others waiting
    rested = rested || (tended.ok() && *tended == Tended::kRested);
    purged = purged || (tended.ok() && *tended == Tended::kPurged);
  }
  if (!trouble.ok()) return trouble;
  return purged || (rested && chats.size() == static_cast<std::size_t>(kChatsARound));
}

void RetentionKeeper::NoteOutcome(const absl::Status& status) {
  // Logged once when it begins, not for every attempt.
  if (!status.ok() && !failing_) {
    runtime::Log(runtime::LogLevel::kWarn, "messages that have expired cannot be seen to",
                 {{"error", std::string(status.message())}});
  }
  failing_ = !status.ok();
}

}  // namespace parley::message
