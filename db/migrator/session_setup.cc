#include "db/migrator/session_setup.h"

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace parley::db {
namespace {

// Those that not every server has.
constexpr absl::string_view kTimeoutsSql =
    "SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings"
    " WHERE name IN ('idle_session_timeout', 'transaction_timeout')";

// Lets the server notice within seconds that the migrator was killed, even in the middle of a long
// statement; otherwise its lock would outlive it for as long as that runs.
constexpr absl::string_view kNoticeDeathSql = "SET client_connection_check_interval = '2s'";

std::string SettingsSql(absl::string_view set, absl::Duration lock_timeout) {
  const std::int64_t milliseconds =
      absl::ToInt64Milliseconds(absl::Ceil(lock_timeout, absl::Milliseconds(1)));
  return absl::StrCat(set, " lock_timeout = ", milliseconds, ";\n",                    //
                      set, " statement_timeout = 0;\n",                                //
                      set, " idle_in_transaction_session_timeout = 0;\n",              //
                      set, " search_path = public;\n",                                 //
                      set, " standard_conforming_strings = on;\n",                     //
                      set, " TimeZone = 'UTC';\n", set, " DateStyle = 'ISO, YMD';\n",  //
                      set, " client_encoding = 'UTF8';");
}

}  // namespace

absl::Status PrepareSession(Connection& connection) {
  PARLEY_RETURN_IF_ERROR(connection.Execute(
      absl::StrCat("RESET SESSION AUTHORIZATION;\nRESET ROLE;\nRESET ALL;\n",
                   "SET default_transaction_read_only = off;\n",
                   "SET default_transaction_isolation = 'read committed';\n",
                   SessionSettingsSql(absl::ZeroDuration()), "\n", kTimeoutsSql)));
  // Servers before 14 do not have it, and some systems cannot do it.
  connection.Run(std::string(kNoticeDeathSql));
  return absl::OkStatus();
}

std::string BeginSectionSql(absl::Duration lock_timeout) {
  return absl::StrCat("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;\n",
                      SettingsSql("SET LOCAL", lock_timeout));
}

std::string SessionSettingsSql(absl::Duration lock_timeout) {
  return SettingsSql("SET", lock_timeout);
}

}  // namespace parley::db
