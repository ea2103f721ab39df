#include "services/access/followed_file.h"

#include <fstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "services/runtime/log.h"

namespace parley::access {
namespace {

constexpr absl::Duration kLookInterval = absl::Seconds(1);
constexpr std::streamsize kMaxFileBytes = 1 << 20;  // more is not what we are told to read

absl::StatusOr<std::string> ReadSmallFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError("cannot be opened");
  std::string content(static_cast<std::size_t>(kMaxFileBytes), '\0');
  file.read(content.data(), kMaxFileBytes);
  if (file.bad()) return absl::UnknownError("cannot be read");
  if (file.gcount() == kMaxFileBytes) return absl::OutOfRangeError("is larger than 1 MiB");
  content.resize(static_cast<std::size_t>(file.gcount()));
  return content;
}

}  // namespace

absl::StatusOr<std::unique_ptr<FollowedFile>> FollowedFile::Open(std::string path,
                                                                 OnContent on_content) {
  absl::StatusOr<std::string> content = ReadSmallFile(path);
  const absl::Status taken = content.ok() ? on_content(*content) : content.status();
  if (!taken.ok()) {
    return absl::Status(taken.code(), absl::StrCat("the file ", path, ": ", taken.message()));
  }
  return std::unique_ptr<FollowedFile>(
      new FollowedFile(std::move(path), std::move(on_content), *std::move(content)));
}

FollowedFile::FollowedFile(std::string path, OnContent on_content, std::string content)
    : path_(std::move(path)),
      on_content_(std::move(on_content)),
      content_(std::move(content)),
      thread_([this] { Run(); }) {}

FollowedFile::~FollowedFile() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    changed_.NotifyAll();
  }
  thread_.join();
}

void FollowedFile::Run() {
  while (WaitForNextLook()) Look();
}

bool FollowedFile::WaitForNextLook() {
  const absl::Time next = SteadyNow() + kLookInterval;
  MutexLock lock(mutex_);
  while (!stopping_ && SteadyNow() < next) changed_.WaitUntil(mutex_, next);
  return !stopping_;
}

void FollowedFile::Look() {
  absl::StatusOr<std::string> content = ReadSmallFile(path_);
  absl::Status status = content.status();
  if (content.ok()) {
    if (*content == content_) {
      last_problem_.clear();
      return;
    }
    status = on_content_(*content);
  }
  if (status.ok()) {
    content_ = *std::move(content);
    last_problem_.clear();
    runtime::Log(runtime::LogLevel::kInfo, "file read again", {{"file", path_}});
  } else if (last_problem_ != status.message()) {
    last_problem_ = std::string(status.message());
    runtime::Log(runtime::LogLevel::kError,
                 "file cannot be used; what it held before stays in force",
                 {{"file", path_}, {"error", last_problem_}});
  }
}

}  // namespace parley::access
