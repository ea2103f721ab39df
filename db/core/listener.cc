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

bool Listen(PGconn* connection, const std::string& channel) {
  if (PQstatus(connection) != CONNECTION_OK) return false;
  // The channel is a constant of the program, so it needs no quoting.
  PGresult* result = PQexec(connection, absl::StrCat("LISTEN ", channel).c_str());
  const bool ok = PQresultStatus(result) == PGRES_COMMAND_OK;
  PQclear(result);
  return ok;
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
  while (ListenUntilBroken() && !EndsWithin(kReconnectDelayMs)) {
  }
}

bool Listener::ListenUntilBroken() {
  const Connection connection(PQconnectdb(dsn_.Uri().c_str()));
  if (!Listen(connection.get(), channel_)) return true;
  on_notify_("");
  while (WaitReadable(PQsocket(connection.get()))) {
    if (PQconsumeInput(connection.get()) == 0) return true;
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
