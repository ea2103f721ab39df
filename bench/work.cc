#include "bench/work.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "absl/time/clock.h"
#include "bench/worker.h"

namespace parley::bench {
namespace {

constexpr absl::Duration kLook = absl::Milliseconds(1);

absl::Time ToTime(const google::protobuf::Timestamp& time) {
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

using Workers = std::vector<std::unique_ptr<Worker>>;

std::int64_t Settled(const Workers& workers) {
  std::int64_t settled = 0;
  for (const auto& worker : workers) settled += worker->settled();
  return settled;
}

bool AnyIsDone(const Workers& workers) {
  return std::any_of(workers.begin(), workers.end(),
                     [](const auto& worker) { return worker->IsDone(); });
}

}  // namespace

absl::StatusOr<Report> RunWork(const WorkOptions& options) {
  std::vector<std::vector<absl::Duration>> late(static_cast<std::size_t>(options.streams));
  Workers workers;
  for (std::vector<absl::Duration>& mine : late) {
    mine.reserve(static_cast<std::size_t>(options.tasks));
    workers.push_back(
        std::make_unique<Worker>(WorkerOptions{options.target, options.queue, options.credit},
                                 [&mine](const scheduler::v1::Lease& lease, absl::Time received) {
                                   mine.push_back(received - ToTime(lease.task().run_time()));
                                 }));
  }
  const absl::Time start = absl::Now();
  for (const auto& worker : workers) worker->Begin();
  while (Settled(workers) < options.tasks && !AnyIsDone(workers)) absl::SleepFor(kLook);
  Report report;
  report.seconds = absl::Now() - start;
  for (const auto& worker : workers) worker->Leave();
  absl::Status status;
  for (const auto& worker : workers) status.Update(worker->Wait());
  if (!status.ok()) return status;
  report.scenario = "work";
  report.in_flight = options.streams * options.credit;
  for (const std::vector<absl::Duration>& mine : late) {
    report.calls.insert(report.calls.end(), mine.begin(), mine.end());
  }
  report.Finish();
  return report;
}

}  // namespace parley::bench
