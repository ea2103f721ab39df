#include "db/core/listener.h"

#include <libpq-fe.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"

namespace parley::db {
namespace {

constexpr int kReconnectDelayMs = 500;
constexpr int kForeverMs = -1;

struct ConnectionDeleter {
  void operator()(PGconn* connection) const { PQfinish(connection); }
};
using Connection = std::unique_ptr<PGconn, ConnectionDeleter>;

struct NotifyDeleter {
  void operator()(PGnotify* notify) const { PQfreemem(notify); }
};
using Notify = std::unique_ptr<PGnotify, NotifyDeleter>;

// What the server has answered so far: nothing, that it listens, or something else.
enum class Answer { kNone, kListening, kRefused };

Answer TakeAnswer(PGconn* connection) {
  Answer answer = Answer::kNone;
  while (PQisBusy(connection) == 0) {
    PGresult* result = PQgetResult(connection);
    if (result == nullptr) break;
    answer = PQresultStatus(result) == PGRES_COMMAND_OK ? Answer::kListening : Answer::kRefused;
    PQclear(result);
  }
  return answer;
}

}  // namespace

Listener::Listener(Dsn dsn, std::string channel,
                   std::function<void(absl::string_view payload)> on_notify)
    : dsn_(std::move(dsn)),
      channel_(std::move(channel)),
      on_notify_(std::move(on_notify)),
      wake_fd_(eventfd(0, EFD_CLOEXEC)),
      thread_([this] { Run(); }) {}

Listener::~Listener() {
  eventfd_write(wake_fd_, 1);
  thread_.join();
  close(wake_fd_);
}

void Listener::Run() {
  if (dsn_.pooler() == Pooler::kTransaction) return;
  while (ListenUntilBroken() && !EndsWithin(kReconnectDelayMs)) {
  }
}

bool Listener::ListenUntilBroken() {
  const Connection connection(PQconnectdb(dsn_.Uri().c_str()));
  if (PQstatus(connection.get()) != CONNECTION_OK) return true;
  PQsetNoticeProcessor(
      connection.get(), [](void*, const char*) {}, nullptr);
  // Sent, not executed: a server that falls silent must not keep the listener from ending. The
  // channel is a constant of the program, so it needs no quoting.
  if (PQsendQuery(connection.get(), absl::StrCat("LISTEN ", channel_).c_str()) == 0) return true;
  while (WaitReadable(PQsocket(connection.get()))) {
    if (PQconsumeInput(connection.get()) == 0) return true;
    const Answer answer = TakeAnswer(connection.get());
    if (answer == Answer::kRefused) return true;
    if (answer == Answer::kListening) on_notify_("");
    while (const Notify notify{PQnotifies(connection.get())}) on_notify_(notify->extra);
  }
  return false;
}

bool Listener::EndsWithin(int timeout_ms) const {
  pollfd wake{wake_fd_, POLLIN, 0};
  return poll(&wake, 1, timeout_ms) > 0;
}

bool Listener::WaitReadable(int socket) const {
  std::array<pollfd, 2> fds = {pollfd{socket, POLLIN, 0}, pollfd{wake_fd_, POLLIN, 0}};
  poll(fds.data(), fds.size(), kForeverMs);
  return (fds[1].revents & POLLIN) == 0;
}

}  // namespace parley::db
