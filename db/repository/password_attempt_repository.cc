#include "db/repository/password_attempt_repository.h"

#include <soci/soci.h>

#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "db/core/transaction.h"
#include "db/repository/statements.h"

namespace parley::db {
namespace {

constexpr absl::Duration kLoginStep = absl::Minutes(1);
constexpr absl::Duration kCallerStep = absl::Milliseconds(100);

// How far away forgiveness may be for another attempt to be allowed.
std::int64_t SpareUs(std::int32_t failures, absl::Duration step) {
  return absl::ToInt64Microseconds(step * (failures - 1));
}

}  // namespace

struct AttemptWaitRow {
  std::int64_t wait_us = 0;
};

}  // namespace parley::db

namespace soci {

template <>
struct type_conversion<parley::db::AttemptWaitRow> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::db::AttemptWaitRow& out) {
    out.wait_us = row.get<long long>("wait_us");
  }
};

}  // namespace soci

namespace parley::db {

std::string PasswordAttemptRepository::LoginSubject(const PasswordAttempt& attempt) const {
  return options_.login_failures == 0 ? "" : absl::StrCat("login:", attempt.login_key);
}

std::string PasswordAttemptRepository::CallerSubject(const PasswordAttempt& attempt) const {
  if (options_.caller_failures == 0 || attempt.caller.empty()) return "";
  return absl::StrCat("caller:", attempt.caller);
}

absl::StatusOr<absl::Duration> PasswordAttemptRepository::WaitOf(const PasswordAttempt& attempt,
                                                                 absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) -> absl::StatusOr<absl::Duration> {
    PARLEY_ASSIGN_OR_RETURN(
        const std::vector<AttemptWaitRow> rows,
        session.Query<AttemptWaitRow>(
            sql::password_attempt::GetAttemptWait,
            {{"login", LoginSubject(attempt)},
             {"login_spare_us", SpareUs(options_.login_failures, kLoginStep)},
             {"caller", CallerSubject(attempt)},
             {"caller_spare_us", SpareUs(options_.caller_failures, kCallerStep)}}));
    return absl::Microseconds(rows.front().wait_us);  // an aggregate has one row, always
  });
}

absl::Status PasswordAttemptRepository::Failed(const PasswordAttempt& attempt,
                                               absl::Time deadline) {
  // Nobody is told of it, so a lost commit may be a lost failure.
  return RunTransaction(
             pool_, deadline, OnLostCommit::kSafeToRetry,
             [&](Session& session) -> absl::StatusOr<std::int64_t> {
               PARLEY_RETURN_IF_ERROR(
                   session
                       .Execute(sql::password_attempt::AddFailures,
                                {{"login", LoginSubject(attempt)},
                                 {"login_step_us", absl::ToInt64Microseconds(kLoginStep)},
                                 {"caller", CallerSubject(attempt)},
                                 {"caller_step_us", absl::ToInt64Microseconds(kCallerStep)}})
                       .status());
               return session.Execute(sql::password_attempt::RemoveForgiven, {});
             })
      .status();
}

absl::Status PasswordAttemptRepository::Succeeded(const PasswordAttempt& attempt,
                                                  absl::Time deadline) {
  return RunOnce(pool_, deadline, [&](Session& session) {
    return session.Execute(sql::password_attempt::ForgiveLogin, {{"login", LoginSubject(attempt)}})
        .status();
  });
}

}  // namespace parley::db
