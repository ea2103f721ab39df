// Removes what an erased user has said, step by step.
#pragma once

#include "absl/status/statusor.h"
#include "db/repository/erasure_repository.h"
#include "services/jobs/worker.h"

namespace parley::chat {

// The handler of the tasks in kEraseUserQueue. Whatever dies meanwhile: steps that were taken stay
// taken, and the next attempt goes on with the others. Thread-safe.
class UserEraser {
 public:
  // `erasures` must outlive the eraser.
  explicit UserEraser(db::ErasureRepository& erasures) : erasures_(erasures) {}

  jobs::Outcome Run(const jobs::Job& job) const;

 private:
  // False: the process wants to end before the work does.
  absl::StatusOr<bool> Erase(const jobs::Job& job) const;

  db::ErasureRepository& erasures_;
};

}  // namespace parley::chat
