#include "services/runtime/host.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <memory>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "services/runtime/admin.h"
#include "services/runtime/log.h"

namespace parley::runtime {
namespace {

constexpr absl::Duration kProbeInterval = absl::Seconds(1);
constexpr absl::Duration kProbeIntervalWhenAway = absl::Milliseconds(250);
constexpr int kMaxRequestBytes = 4 * 1024 * 1024;
constexpr int kMaxMetadataBytes = 8 * 1024;
constexpr int kMaxStreamsPerConnection = 1000;  // of gRPC's: calls of any kind
constexpr absl::Duration kMaxConnectionIdle = absl::Minutes(15);
constexpr int kMinPingMs = 5000;  // callers that ask more often are cut off

sigset_t TerminationSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

// Keeps the health service's answers, and `is_ready`, in step with the probe, until told to drain.
class HealthKeeper {
 public:
  HealthKeeper(grpc::HealthCheckServiceInterface& health, const std::vector<std::string>& services,
               const std::function<absl::Status()>& ready, std::atomic<bool>& is_ready)
      : health_(health), services_(services), ready_(ready), is_ready_(is_ready) {
    health_.SetServingStatus("live", true);
    Probe();
    thread_ = std::thread([this] { Run(); });
  }
  ~HealthKeeper() { thread_.join(); }  // Drain() came first

  // NOT_SERVING for everything but "live", for good.
  void Drain() {
    {
      MutexLock lock(mutex_);
      draining_ = true;
      changed_.NotifyAll();
    }
    Set(false);
  }

 private:
  void Run() {
    while (WaitForNextProbe()) Probe();
  }

  bool WaitForNextProbe() {
    MutexLock lock(mutex_);
    const absl::Time next =
        SteadyNow() + (serving_ == false ? kProbeIntervalWhenAway : kProbeInterval);
    while (!draining_ && SteadyNow() < next) changed_.WaitUntil(mutex_, next);
    return !draining_;
  }

  void Probe() {
    const absl::Status status = ready_();
    // Under the lock, so that a probe that began before the drain cannot end after it.
    MutexLock lock(mutex_);
    if (draining_) return;
    if (serving_ == status.ok()) return;  // whoever watches is told of changes only
    serving_ = status.ok();
    Log(status.ok() ? LogLevel::kInfo : LogLevel::kWarn, status.ok() ? "ready" : "not ready",
        {{"error", std::string(status.message())}});
    Set(status.ok());
  }

  void Set(bool serving) {
    is_ready_ = serving;
    health_.SetServingStatus("", serving);
    for (const std::string& service : services_) health_.SetServingStatus(service, serving);
  }

  grpc::HealthCheckServiceInterface& health_;
  const std::vector<std::string>& services_;
  const std::function<absl::Status()>& ready_;
  std::atomic<bool>& is_ready_;
  Mutex mutex_;
  CondVar changed_;
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<bool> serving_ ABSL_GUARDED_BY(mutex_);  // absent before the first probe
  std::thread thread_;
};

// Ends the process if the drain does not: a call that never finishes must not keep it for ever.
void StartWatchdog(absl::Duration limit) {
  std::thread([limit] {
    absl::SleepFor(limit);
    Log(LogLevel::kError, "the drain did not end; giving up");
    std::_Exit(1);
  }).detach();
}

void WaitForTermination() {
  const sigset_t signals = TerminationSignals();
  int signal = 0;
  sigwait(&signals, &signal);
  Log(LogLevel::kInfo, "draining", {{"signal", std::int64_t{signal}}});
}

int Milliseconds(absl::Duration duration) {
  return static_cast<int>(std::clamp(duration, absl::Milliseconds(1), absl::Hours(24 * 7)) /
                          absl::Milliseconds(1));
}

// What callers may rely on, and what they may not do; see "Connections" in the README.
void SetConnectionContract(const Host::Options& options, grpc::ServerBuilder& builder) {
  // Without this a second process on the same port would quietly take half the calls.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, Milliseconds(options.keepalive));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, Milliseconds(options.keepalive));
  // Callers may ask the same of us; left to itself, gRPC takes that for abuse.
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, kMinPingMs);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS,
                             Milliseconds(options.max_connection_age));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS,
                             Milliseconds(options.max_deadline + 2 * options.max_connection_age));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, Milliseconds(kMaxConnectionIdle));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMaxStreamsPerConnection);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, kMaxMetadataBytes);
  builder.SetMaxReceiveMessageSize(kMaxRequestBytes);
}

}  // namespace

void PrepareProcess() {
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  const sigset_t signals = TerminationSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

Host::Host(Options options, std::vector<grpc::Service*> services,
           std::vector<std::string> service_names)
    : options_(std::move(options)),
      services_(std::move(services)),
      service_names_(std::move(service_names)) {
  options_.metrics.AddGauge({"parley_ready", "1 while health says SERVING, otherwise 0."},
                            [this] { return ready_ ? 1.0 : 0.0; });
}

int Host::Run() {
  if (options_.admin_listen.empty()) return Serve();
  const auto admin = AdminServer::Start({.listen = options_.admin_listen,
                                         .metrics = [this] { return options_.metrics.Text(); },
                                         .is_ready = [this] { return ready_.load(); }});
  if (!admin.ok()) {
    Log(LogLevel::kError, "cannot open the admin port; is the address right, and free?",
        {{"address", options_.admin_listen}, {"error", admin.status().message()}});
    return 1;
  }
  Log(LogLevel::kInfo, "admin port", {{"address", (*admin)->address()}});
  return Serve();
}

int Host::Serve() {
  const absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> credentials =
      MakeServerCredentials(options_.transport);
  if (!credentials.ok()) {
    Log(LogLevel::kError, "cannot use the certificates",
        {{"error", credentials.status().message()}});
    return 1;
  }
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  SetConnectionContract(options_, builder);
  // Reflection has a thread for each of its streams; more of these than that are refused.
  constexpr int kMaxReflectionThreads = 32;
  grpc::ResourceQuota threads("parley");
  threads.SetMaxThreads(kMaxReflectionThreads);
  builder.SetResourceQuota(threads);
  int port = 0;
  builder.AddListeningPort(options_.listen, *credentials, &port);
  for (grpc::Service* service : services_) builder.RegisterService(service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || port == 0) {
    Log(LogLevel::kError, "cannot listen; is the address right, and free?",
        {{"address", options_.listen}});
    return 1;
  }

  HealthKeeper health(*server->GetHealthCheckService(), service_names_, options_.ready, ready_);
  const std::string host = options_.listen.substr(0, options_.listen.rfind(':'));
  Log(LogLevel::kInfo, "listening", {{"address", absl::StrCat(host, ":", port)}});
  WaitForTermination();

  StartWatchdog(options_.drain_delay + 2 * options_.drain_grace + absl::Seconds(1));
  health.Drain();
  options_.refuse_streams();
  absl::SleepFor(options_.drain_delay);
  options_.end_streams();
  server->Shutdown(absl::ToChronoTime(absl::Now() + options_.drain_grace));
  Log(LogLevel::kInfo, "drained");
  return 0;
}

}  // namespace parley::runtime
