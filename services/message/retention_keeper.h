// Sees to it that chats keep their messages no longer than they are told to.
#pragma once

#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "db/repository/retention_repository.h"

namespace parley::message {

// One thread looks every second for chats in which messages have expired, hides these, and removes
// what is hidden, some of each chat in turn. Every process may have one: whatever one of them
// leaves undone, another finds. While the database is away it tries again every second.
//
// Thread-safe.
class RetentionKeeper {
 public:
  // Starts the thread. `retention` must outlive the keeper.
  explicit RetentionKeeper(db::RetentionRepository& retention);
  ~RetentionKeeper();  // waits for the batch being removed

  RetentionKeeper(const RetentionKeeper&) = delete;
  RetentionKeeper& operator=(const RetentionKeeper&) = delete;

  // Begins no further batch. Does not wait. Idempotent.
  void Drain();

 private:
  void Run();
  // One batch of each chat that needs it; false: nothing more is to be done for now.
  absl::StatusOr<bool> TendSome();
  bool Stopping() ABSL_LOCKS_EXCLUDED(mutex_);
  void NoteOutcome(const absl::Status& status);

  db::RetentionRepository& retention_;
  Mutex mutex_;
  CondVar wake_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  bool failing_ = false;  // the thread's own
  std::thread thread_;    // the last member: it uses all others
};

}  // namespace parley::message
