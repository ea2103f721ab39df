// parley-bench: a light load program, and a server that does no work. bench/run.sh puts them to
// use.

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <iostream>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "bench/echo.h"
#include "bench/fill.h"
#include "bench/load.h"
#include "bench/work.h"
#include "bench/workload.h"

namespace {

using parley::bench::CaptureOptions;
using parley::bench::FillOptions;
using parley::bench::HandoffOptions;
using parley::bench::LoadOptions;
using parley::bench::Report;
using parley::bench::Workload;
using parley::bench::WorkloadOptions;
using parley::bench::WorkOptions;

constexpr int kUsage = 2;

struct Options {
  LoadOptions load;
  WorkloadOptions workload;
  CaptureOptions capture;
  FillOptions fill;
  WorkOptions work;
  HandoffOptions handoff;
  double duration = 5, warm_up = 1, from = 0, over = 0;  // seconds
  bool json = false;
  std::string listen = "127.0.0.1:0", reply;
};

CLI::App* AddLoad(CLI::App& app, Options& options) {
  CLI::App* load = app.add_subcommand("load", "call a server, measure, exit with 1 on any error");
  load->add_option("--target", options.load.target, "host:port of the server")->required();
  load->add_option("--scenario", options.workload.scenario, "what to call")
      ->required()
      ->check(CLI::IsMember({"list", "send", "unread", "create", "create-batch"}));
  load->add_option("--in-flight", options.load.in_flight, "calls at a time, at most")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  load->add_option("--channels", options.load.channels, "connections that share them")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  load->add_option("--duration", options.duration, "seconds to measure")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  load->add_option("--warm-up", options.warm_up, "seconds before that, not measured")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  load->add_option("--rate", options.load.rate,
                   "calls a second, timed from the instant they are due; 0: a closed loop")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  load->add_option("--count", options.load.count, "stop after so many calls; 0: by time")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  load->add_option("--chats", options.workload.chats, "list, send: chats 1 to this, at random")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  load->add_option("--chat", options.workload.chat, "list, send: this chat only");
  load->add_option("--limit", options.workload.limit, "list: messages a page")
      ->capture_default_str();
  load->add_option("--offset", options.workload.offset, "list: messages to leave out")
      ->capture_default_str();
  load->add_option("--queue", options.workload.queue, "create, create-batch: whose tasks")
      ->capture_default_str();
  load->add_option("--user", options.workload.user, "unread: whose")->capture_default_str();
  load->add_option("--expect", options.workload.expect, "unread: how many counts must come");
  load->add_flag("--json", options.json, "print the result as JSON");
  return load;
}

CLI::App* AddCapture(CLI::App& app, Options& options) {
  CLI::App* capture = app.add_subcommand("capture", "keep the bytes of a page of messages");
  capture->add_option("--target", options.capture.target, "host:port of a messaged")->required();
  capture->add_option("--out", options.capture.file, "file to write")->required();
  capture->add_option("--chat", options.capture.chat)->capture_default_str();
  capture->add_option("--limit", options.capture.limit)->capture_default_str();
  return capture;
}

CLI::App* AddEcho(CLI::App& app, Options& options) {
  CLI::App* echo = app.add_subcommand("echo", "answer ListMessages with prepared bytes");
  echo->add_option("--listen", options.listen, "host:port")->capture_default_str();
  echo->add_option("--reply", options.reply, "file with the bytes; see capture")
      ->required()
      ->check(CLI::ExistingFile);
  return echo;
}

CLI::App* AddFill(CLI::App& app, Options& options) {
  CLI::App* fill = app.add_subcommand("fill", "create tasks, 1,000 a call");
  fill->add_option("--target", options.fill.target, "host:port of a schedulerd")->required();
  fill->add_option("--queue", options.fill.queue, "whose tasks")->required();
  fill->add_option("--tasks", options.fill.tasks, "how many")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  fill->add_option("--from", options.from, "seconds from now until the first may be due")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  fill->add_option("--over", options.over, "seconds over which they are due; 0, as --from: at once")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  return fill;
}

CLI::App* AddWork(CLI::App& app, Options& options) {
  CLI::App* work = app.add_subcommand("work", "ack tasks on Work streams; how fast, and how late");
  work->add_option("--target", options.work.target, "host:port of a schedulerd")->required();
  work->add_option("--queue", options.work.queue, "whose tasks")->required();
  work->add_option("--tasks", options.work.tasks, "how many")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  work->add_option("--streams", options.work.streams, "streams, and connections")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  work->add_option("--credit", options.work.credit, "of each stream")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  work->add_flag("--json", options.json, "print the result as JSON");
  return work;
}

CLI::App* AddHandoff(CLI::App& app, Options& options) {
  CLI::App* handoff =
      app.add_subcommand("handoff", "from CreateTask to the worker, one task at a time");
  handoff->add_option("--target", options.handoff.target, "host:port of a schedulerd")->required();
  handoff->add_option("--queue", options.handoff.queue, "whose tasks")->required();
  handoff->add_option("--tasks", options.handoff.tasks, "how many")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  handoff->add_flag("--json", options.json, "print the result as JSON");
  return handoff;
}

int Fail(const absl::Status& status) {
  std::cerr << "parley-bench: " << status.message() << std::endl;
  return EXIT_FAILURE;
}

int Show(const absl::StatusOr<Report>& report, const Options& options) {
  if (!report.ok()) return Fail(report.status());
  std::cout << (options.json ? report->ToJson() : report->ToText()) << std::flush;
  return report->Ok() ? EXIT_SUCCESS : EXIT_FAILURE;
}

int RunLoad(Options& options) {
  options.load.scenario = options.workload.scenario;
  options.load.duration = absl::Seconds(options.duration);
  options.load.warm_up = absl::Seconds(options.warm_up);
  const absl::StatusOr<Workload> workload = MakeWorkload(options.workload);
  if (!workload.ok()) return Fail(workload.status());
  return Show(parley::bench::RunLoad(options.load, *workload), options);
}

int RunFill(Options& options) {
  options.fill.from = absl::Seconds(options.from);
  options.fill.over = absl::Seconds(options.over);
  const absl::Status status = parley::bench::Fill(options.fill);
  return status.ok() ? EXIT_SUCCESS : Fail(status);
}

}  // namespace

int main(int argc, char** argv) {
  // As the servers do (services/runtime/host.h).
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  Options options;
  CLI::App app("Calls a messaged or a schedulerd, or stands in for one.", "parley-bench");
  app.require_subcommand(1);
  const CLI::App* load = AddLoad(app, options);
  const CLI::App* capture = AddCapture(app, options);
  const CLI::App* fill = AddFill(app, options);
  const CLI::App* work = AddWork(app, options);
  const CLI::App* handoff = AddHandoff(app, options);
  AddEcho(app, options);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? EXIT_SUCCESS : kUsage;
  }
  if (load->parsed()) return RunLoad(options);
  if (fill->parsed()) return RunFill(options);
  if (work->parsed()) return Show(parley::bench::RunWork(options.work), options);
  if (handoff->parsed()) return Show(parley::bench::RunHandoff(options.handoff), options);
  if (capture->parsed()) {
    const absl::Status status = parley::bench::Capture(options.capture);
    return status.ok() ? EXIT_SUCCESS : Fail(status);
  }
  return parley::bench::ServeEcho(options.listen, options.reply);
}
