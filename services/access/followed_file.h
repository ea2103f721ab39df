// A file that may be replaced while the process runs: keys, callers.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"

namespace parley::access {

// Reads the file once a second, on a thread of its own, and hands on what it holds when that has
// changed. By its content, not its times, so that it does not matter how it was replaced. What
// cannot be read, or is refused, is logged once, and what was read before stays in force.
class FollowedFile {
 public:
  // Receives the whole file; an error refuses it. Called by one thread at a time.
  using OnContent = std::function<absl::Status(const std::string& content)>;

  // Reads the file here and now, and fails if that does.
  static absl::StatusOr<std::unique_ptr<FollowedFile>> Open(std::string path, OnContent on_content);

  ~FollowedFile();
  FollowedFile(const FollowedFile&) = delete;
  FollowedFile& operator=(const FollowedFile&) = delete;

 private:
  FollowedFile(std::string path, OnContent on_content, std::string content);
  void Run();
  bool WaitForNextLook() ABSL_LOCKS_EXCLUDED(mutex_);
  void Look();

  const std::string path_;
  const OnContent on_content_;
  std::string content_;       // of the thread: what was handed on last
  std::string last_problem_;  // of the thread: empty if there is none
  Mutex mutex_;
  CondVar changed_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace parley::access
