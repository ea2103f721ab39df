#include "db/repository/notifier.h"

#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/clock.h"
#include "db/core/transaction.h"
#include "db/repository/statements.h"

namespace parley::db {
namespace {

constexpr absl::Duration kInterval = absl::Milliseconds(20);
constexpr absl::Duration kPatience = absl::Seconds(5);
// PostgreSQL refuses payloads of 8000 bytes; beyond this a hint says only that there is something.
constexpr std::size_t kMaxPayload = 7500;

}  // namespace

Notifier::Notifier(SessionPool& pool, std::string channel)
    : pool_(pool), channel_(std::move(channel)), thread_([this] { Run(); }) {}

Notifier::~Notifier() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  wake_.NotifyOne();
  thread_.join();
}

void Notifier::Notify(std::int64_t id) {
  {
    MutexLock lock(mutex_);
    const bool first = ids_.empty();
    ids_.insert(id);
    if (!first) return;  // somebody has woken the thread already
  }
  wake_.NotifyOne();
}

void Notifier::Run() {
  absl::Time next = absl::InfinitePast();
  while (true) {
    std::set<std::int64_t> ids;
    bool last = false;
    {
      MutexLock lock(mutex_);
      while (!stopping_ && (ids_.empty() || SteadyNow() < next)) {
        wake_.WaitUntil(mutex_, ids_.empty() ? absl::InfiniteFuture() : next);
      }
      last = stopping_;
      ids.swap(ids_);
    }
    next = SteadyNow() + kInterval;
    if (!ids.empty()) Send(ids);
    if (last) return;
  }
}

void Notifier::Send(const std::set<std::int64_t>& ids) {
  std::string payload = absl::StrJoin(ids, ",");
  if (payload.size() > kMaxPayload) payload.clear();
  // A lost notification costs others the time until they look, so it is not sent again.
  RunOnce(pool_, SteadyNow() + kPatience, [&](Session& session) {
    return session.Execute(sql::event::NotifyIds, {{"channel", channel_}, {"payload", payload}})
        .status();
  }).IgnoreError();
}

std::vector<std::int64_t> IdsOfHint(absl::string_view payload) {
  std::vector<std::int64_t> ids;
  for (const absl::string_view part : absl::StrSplit(payload, ',', absl::SkipEmpty())) {
    std::int64_t id = 0;
    if (!absl::SimpleAtoi(part, &id)) return {};
    ids.push_back(id);
  }
  return ids;
}

}  // namespace parley::db
