#include "bench/load.h"

#include <grpcpp/generic/generic_stub.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <iostream>
#include <memory>
#include <optional>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/mutex.h"

namespace parley::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Instant = Clock::time_point;

constexpr std::chrono::seconds kConnect{10};
constexpr std::chrono::seconds kCallDeadline{30};
constexpr std::int64_t kAnswersChecked = 100;

// One of the calls in flight; used again and again.
struct Slot {
  grpc::GenericStub* stub = nullptr;
  std::optional<grpc::ClientContext> context;
  std::unique_ptr<grpc::ClientAsyncResponseReader<grpc::ByteBuffer>> reader;
  grpc::ByteBuffer answer;
  grpc::Status status;
  Instant due;
};

const char* CodeName(grpc::StatusCode code) {
  constexpr const char* kNames[] = {"OK",
                                    "CANCELLED",
                                    "UNKNOWN",
                                    "INVALID_ARGUMENT",
                                    "DEADLINE_EXCEEDED",
                                    "NOT_FOUND",
                                    "ALREADY_EXISTS",
                                    "PERMISSION_DENIED",
                                    "RESOURCE_EXHAUSTED",
                                    "FAILED_PRECONDITION",
                                    "ABORTED",
                                    "OUT_OF_RANGE",
                                    "UNIMPLEMENTED",
                                    "INTERNAL",
                                    "UNAVAILABLE",
                                    "DATA_LOSS",
                                    "UNAUTHENTICATED"};
  const auto index = static_cast<std::size_t>(code);
  return index < std::size(kNames) ? kNames[index] : "OTHER";
}

class Load {
 public:
  Load(const LoadOptions& options, const Workload& workload)
      : options_(options), workload_(workload), random_(std::random_device{}()) {
    report_.scenario = options.scenario;
    report_.in_flight = options.in_flight;
    report_.asked_rate = options.rate;
  }

  absl::Status Connect() {
    for (int i = 0; i < options_.channels; ++i) {
      channels_.push_back(OpenChannel(options_.target));
      if (!channels_.back()->WaitForConnected(std::chrono::system_clock::now() + kConnect)) {
        return absl::UnavailableError(absl::StrCat("nobody listens on ", options_.target));
      }
      stubs_.emplace_back(channels_.back());
    }
    for (int i = 0; i < options_.in_flight; ++i) {
      slots_.emplace_back().stub = &stubs_[static_cast<std::size_t>(i) % stubs_.size()];
    }
    return absl::OkStatus();
  }

  Report Run() {
    start_ = Clock::now();
    const bool by_count = options_.count > 0;
    measure_from_ =
        start_ + absl::ToChronoNanoseconds(by_count ? absl::ZeroDuration() : options_.warm_up);
    end_ = by_count ? Instant::max() : measure_from_ + absl::ToChronoNanoseconds(options_.duration);
    next_progress_ = start_ + std::chrono::seconds(1);
    std::thread pacer;
    if (options_.rate > 0) {
      pacer = std::thread([this] { Pace(); });
    } else {
      for (Slot& slot : slots_) StartNext(slot, start_);
    }
    TakeAnswers();
    if (pacer.joinable()) pacer.join();
    if (by_count) end_ = Clock::now();
    report_.seconds = absl::FromChrono(end_ - measure_from_);
    report_.Finish();
    return std::move(report_);
  }

 private:
  // Calls are made by one thread: the pacer, or in a closed loop the one that takes the answers.
  void Start(Slot& slot, Instant due) {
    const std::size_t choice =
        std::uniform_int_distribution<std::size_t>(0, workload_.requests.size() - 1)(random_);
    slot.due = due;
    slot.context.emplace();
    slot.context->set_deadline(std::chrono::system_clock::now() + kCallDeadline);
    slot.reader = slot.stub->PrepareUnaryCall(&*slot.context, workload_.method,
                                              workload_.requests[choice], &queue_);
    slot.reader->StartCall();
    slot.reader->Finish(&slot.answer, &slot.status, &slot);
  }

  // The closed loop's next call, if there is to be one. Not made: one call less is in flight.
  void StartNext(Slot& slot, Instant now) {
    if (now >= end_ || (options_.count > 0 && started_ == options_.count)) {
      ++retired_;
      return;
    }
    ++started_;
    Start(slot, now);
  }

  void Pace() {
    const std::chrono::duration<double> interval(1 / options_.rate);
    std::int64_t i = 0;
    for (; options_.count == 0 || i < options_.count; ++i) {
      const Instant due =
          start_ + std::chrono::duration_cast<Clock::duration>(interval * static_cast<double>(i));
      if (due >= end_) break;
      std::this_thread::sleep_until(due);
      Slot* slot = TakeFreeSlot();
      // The server has fallen so far behind that the time is over.
      if (Clock::now() >= end_) {
        ReturnSlot(*slot);
        break;
      }
      Start(*slot, due);
    }
    if (end_ != Instant::max()) {
      const std::chrono::duration<double> time = end_ - start_;
      const auto due = static_cast<std::int64_t>(time.count() * options_.rate);
      report_.not_made = std::max<std::int64_t>(due - i, 0);
    }
    MutexLock lock(mutex_);
    paced_ = true;
  }

  Slot* TakeFreeSlot() {
    MutexLock lock(mutex_);
    if (free_.empty() && !filled_) {
      for (Slot& slot : slots_) free_.push_back(&slot);
      filled_ = true;
    }
    while (free_.empty()) freed_.Wait(mutex_);
    Slot* slot = free_.front();
    free_.pop_front();
    return slot;
  }

  void ReturnSlot(Slot& slot) {
    MutexLock lock(mutex_);
    free_.push_back(&slot);
    freed_.NotifyOne();
  }

  // Whether all calls that will ever be made have been answered.
  bool Done() {
    if (options_.rate <= 0) return retired_ == slots_.size();
    MutexLock lock(mutex_);
    return paced_ && (!filled_ || free_.size() == slots_.size());
  }

  void TakeAnswers() {
    while (!Done()) {
      void* tag = nullptr;
      bool ok = false;
      const auto next = queue_.AsyncNext(
          &tag, &ok, std::chrono::system_clock::now() + std::chrono::milliseconds(100));
      const Instant now = Clock::now();
      if (next == grpc::CompletionQueue::GOT_EVENT) {
        Slot& slot = *static_cast<Slot*>(tag);
        Take(slot, now);
        if (options_.rate > 0) {
          ReturnSlot(slot);
        } else {
          StartNext(slot, now);
        }
      }
      if (now >= next_progress_) ShowProgress();
    }
  }

  void Take(Slot& slot, Instant now) {
    absl::Status wrong;
    if (slot.status.ok() && answers_ < kAnswersChecked) wrong = workload_.check(slot.answer);
    ++answers_;
    if (!slot.status.ok()) {
      NoteError(CodeName(slot.status.error_code()), slot.status.error_message());
    } else if (!wrong.ok()) {
      NoteError("WRONG_ANSWER", wrong.message());
    } else if (now >= measure_from_ && now <= end_) {
      report_.calls.push_back(absl::FromChrono(now - slot.due));
    }
    slot.answer.Clear();
  }

  void NoteError(const char* code, absl::string_view text) {
    if (report_.errors[code]++ == 0) std::cerr << code << ": " << text << std::endl;
  }

  void ShowProgress() {
    std::cerr
        << absl::StrFormat(
               "%3d s%s: %d calls a second\n",
               std::chrono::duration_cast<std::chrono::seconds>(next_progress_ - start_).count(),
               next_progress_ <= measure_from_ ? " (warm-up)" : "", answers_ - shown_)
        << std::flush;
    shown_ = answers_;
    next_progress_ += std::chrono::seconds(1);
  }

  const LoadOptions& options_;
  const Workload& workload_;
  std::minstd_rand random_;
  Report report_;

  // In the order in which they must go: calls end before their queue, stubs before their channels.
  std::vector<std::shared_ptr<grpc::Channel>> channels_;
  std::vector<grpc::GenericStub> stubs_;
  grpc::CompletionQueue queue_;
  std::deque<Slot> slots_;

  Instant start_, measure_from_, end_, next_progress_;
  std::int64_t started_ = 0, answers_ = 0, shown_ = 0;
  std::size_t retired_ = 0;

  // Between the pacer and the one who takes the answers.
  Mutex mutex_;
  CondVar freed_;
  std::deque<Slot*> free_ ABSL_GUARDED_BY(mutex_);
  bool filled_ ABSL_GUARDED_BY(mutex_) = false;
  bool paced_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

absl::StatusOr<Report> RunLoad(const LoadOptions& options, const Workload& workload) {
  Load load(options, workload);
  if (absl::Status status = load.Connect(); !status.ok()) return status;
  return load.Run();
}

}  // namespace parley::bench
