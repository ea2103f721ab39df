#include "db/core/listener.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "base/mutex.h"
#include "tests/support/temp_database.h"

namespace parley::db {
namespace {

using parley::testing::ClusterDsn;
using parley::testing::RunSql;

// What the listener's thread was told.
class Heard {
 public:
  void Add(absl::string_view payload) {
    MutexLock lock(mutex_);
    payloads_.emplace_back(payload);
    changed_.NotifyAll();
  }
  // Waits until `payload` has been heard `times` times.
  bool WaitFor(const std::string& payload, int times) {
    const absl::Time limit = absl::Now() + absl::Seconds(20);
    MutexLock lock(mutex_);
    while (std::count(payloads_.begin(), payloads_.end(), payload) < times) {
      if (absl::Now() >= limit) return false;
      changed_.WaitUntil(mutex_, limit);
    }
    return true;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  std::vector<std::string> payloads_ ABSL_GUARDED_BY(mutex_);
};

TEST(Listener, HearsWhatOthersNotify) {
  Heard heard;
  Listener listener(ClusterDsn(), "listener_test_one",
                    [&](absl::string_view payload) { heard.Add(payload); });
  ASSERT_TRUE(heard.WaitFor("", 1));
  RunSql(ClusterDsn(), "NOTIFY listener_test_one, 'queue a'");
  EXPECT_TRUE(heard.WaitFor("queue a", 1));
}

TEST(Listener, ListensAgainAfterItsConnectionBroke) {
  Heard heard;
  Listener listener(ClusterDsn().With("application_name", "listener_test"), "listener_test_two",
                    [&](absl::string_view payload) { heard.Add(payload); });
  ASSERT_TRUE(heard.WaitFor("", 1));
  RunSql(ClusterDsn(),
         "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
         "WHERE application_name = 'listener_test'");
  ASSERT_TRUE(heard.WaitFor("", 2));
  RunSql(ClusterDsn(), "NOTIFY listener_test_two, 'again'");
  EXPECT_TRUE(heard.WaitFor("again", 1));
}

TEST(Listener, EndsWhileTheServerIsAway) {
  Listener listener(ClusterDsn().With("port", "1"), "listener_test_three",
                    [](absl::string_view) { ADD_FAILURE() << "nobody is there"; });
}

}  // namespace
}  // namespace parley::db
