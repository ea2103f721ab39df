// Tells how far an adoption has come.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "db/adopt/adopt_options.h"
#include "db/migrator/connection.h"

namespace parley::adopt {

// Belongs to one thread. Each step lasts from the end of the one before.
class Steps {
 public:
  Steps(db::Connection& connection, const std::function<void(const Step&)>& report)
      : connection_(connection), report_(report) {}

  void Report(std::string what, std::int64_t rows = -1) {
    const absl::Time now = SteadyNow();
    if (report_) report_({.what = std::move(what), .rows = rows, .took = now - begun_});
    begun_ = now;
  }

  // Runs one statement and reports it with the number of its rows, if it has one; and every ten
  // seconds that it is still running.
  absl::Status Run(std::string what, const std::string& sql);

 private:
  db::Connection& connection_;
  const std::function<void(const Step&)>& report_;
  absl::Time begun_ = SteadyNow();
};

}  // namespace parley::adopt
