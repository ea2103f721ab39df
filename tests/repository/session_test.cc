#include "db/core/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_database.h"

namespace parley::db {

// What the statements of this test return.
struct TextRow {
  std::optional<std::string> text;
  std::int64_t number = 0;
};

}  // namespace parley::db

namespace soci {

template <>
struct type_conversion<parley::db::TextRow> {
  using base_type = values;
  static void from_base(const values& row, indicator /*unused*/, parley::db::TextRow& out) {
    out.text.reset();
    if (row.get_indicator("text") != i_null) out.text = row.get<std::string>("text");
    out.number = row.get<long long>("number");
  }
};

}  // namespace soci

namespace parley::db {
namespace {

using parley::testing::ClusterDsn;
using parley::testing::IsOk;
using parley::testing::StatusIs;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr Statement kEcho{"test.Echo", "SELECT :text::text AS text, :number::bigint AS number"};
constexpr Statement kElements{"test.Elements",
                              "SELECT element AS text, n AS number FROM unnest(:elements::text[]) "
                              "WITH ORDINALITY AS e (element, n)"};
constexpr Statement kDivide{"test.Divide",
                            "SELECT NULL::text AS text, (1 / :number::bigint)::bigint AS number"};
constexpr Statement kSleep{"test.Sleep",
                           "SELECT NULL::text AS text, count(*) AS number "
                           "FROM (SELECT pg_sleep(:number::bigint)) AS slept"};
constexpr Statement kTwice{"test.Twice",
                           "SELECT :text::text || :text::text AS text, :number::bigint AS number"};

std::unique_ptr<Session> Connect() { return Session::Connect(ClusterDsn()).value(); }

TEST(Session, PassesValuesAndNullsThroughAPreparedStatement) {
  const std::unique_ptr<Session> session = Connect();
  for (const std::string text : {"a", "'; DROP TABLE x; --", "日本 😀", ""}) {
    const auto row = session->QueryOptional<TextRow>(kEcho, {{"text", text}, {"number", 1 << 30}});
    ASSERT_THAT(row, IsOk());
    EXPECT_EQ((*row)->text, text);
    EXPECT_EQ((*row)->number, 1 << 30);
  }
  const auto null = session->QueryOptional<TextRow>(
      kEcho, {{"text", std::optional<std::string>()}, {"number", std::int64_t{-7'000'000'000}}});
  ASSERT_THAT(null, IsOk());
  EXPECT_EQ((*null)->text, std::nullopt);
  EXPECT_EQ((*null)->number, -7'000'000'000);
}

TEST(Session, GivesOneBindToEveryPlaceOfItsName) {
  const auto row = Connect()->QueryOptional<TextRow>(kTwice, {{"text", "ab"}, {"number", 1}});
  ASSERT_THAT(row, IsOk());
  EXPECT_EQ((*row)->text, "abab");
}

TEST(Session, CarriesAnyTextInAnArray) {
  const std::vector<std::string> texts = {"plain", "",     "a,b",  "say \"hi\"", "back\\slash",
                                          "{}",    "NULL", "日本", " spaces "};
  const auto rows = Connect()->Query<TextRow>(kElements, {{"elements", ArrayLiteral(texts)}});
  ASSERT_THAT(rows, IsOk());
  ASSERT_EQ(rows->size(), texts.size());
  for (std::size_t i = 0; i < texts.size(); ++i) EXPECT_EQ((*rows)[i].text, texts[i]);
}

TEST(Session, WritesNumbersAsAnArray) {
  EXPECT_EQ(ArrayLiteral(std::vector<std::int64_t>{}), "{}");
  EXPECT_EQ(ArrayLiteral(std::vector<std::int64_t>{1, -2}), "{1,-2}");
}

TEST(Session, GoesOnAfterAFailedStatement) {
  const std::unique_ptr<Session> session = Connect();
  EXPECT_EQ(session->QueryOptional<TextRow>(kDivide, {{"number", 0}}).status().code(),
            absl::StatusCode::kInternal);
  const auto row = session->QueryOptional<TextRow>(kDivide, {{"number", 1}});
  ASSERT_THAT(row, IsOk());
  EXPECT_EQ((*row)->number, 1);
}

TEST(Session, NeverRepeatsAParameterInAnError) {
  const Statement cast{"test.Cast", "SELECT :text::text AS text, :text::bigint AS number"};
  const auto row = Connect()->QueryOptional<TextRow>(cast, {{"text", "my secret"}});
  EXPECT_EQ(row.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(row.status().ToString(), Not(HasSubstr("secret")));
  EXPECT_THAT(row.status().ToString(), HasSubstr("22P02"));
}

TEST(Session, GivesUpAStatementAtTheDeadline) {
  const std::unique_ptr<Session> session = Connect();
  ASSERT_THAT(session->SetDeadline(absl::Now() + absl::Milliseconds(50)), IsOk());
  EXPECT_THAT(session->QueryOptional<TextRow>(kSleep, {{"number", 30}}),
              StatusIs(absl::StatusCode::kDeadlineExceeded, reason::kDeadlineExceeded));
  ASSERT_THAT(session->SetDeadline(absl::InfiniteFuture()), IsOk());
  EXPECT_THAT(session->QueryOptional<TextRow>(kSleep, {{"number", 0}}), IsOk());
}

TEST(Session, ThatIsLentByTransaction_SetsNothingThatOutlastsOne) {
  const std::unique_ptr<Session> session =
      Session::Connect(ClusterDsn().WithPooler(Pooler::kTransaction)).value();
  const Statement settings{"test.Settings",
                           "SELECT current_setting('statement_timeout') AS text,"
                           " (SELECT count(*) FROM pg_prepared_statements) AS number"};
  ASSERT_THAT(session->SetDeadline(absl::Now() + absl::Milliseconds(50)), IsOk());
  ASSERT_THAT(session->Begin(), IsOk());
  EXPECT_THAT(session->QueryOptional<TextRow>(kSleep, {{"number", 30}}),
              StatusIs(absl::StatusCode::kDeadlineExceeded, reason::kDeadlineExceeded));
  EXPECT_TRUE(session->Reset());
  for (int i = 0; i < 2; ++i) {
    const auto after = session->QueryOptional<TextRow>(settings, {});
    ASSERT_THAT(after, IsOk());
    EXPECT_EQ((*after)->text, "0");
    EXPECT_EQ((*after)->number, 0);
  }
}

TEST(Session, RefusesADeadlineThatHasPassed) {
  EXPECT_THAT(Connect()->SetDeadline(absl::Now() - absl::Seconds(1)),
              StatusIs(absl::StatusCode::kDeadlineExceeded, reason::kDeadlineExceeded));
}

TEST(Session, RollsBackWhatWasLeftOpen) {
  const std::unique_ptr<Session> session = Connect();
  ASSERT_THAT(session->Command("BEGIN"), IsOk());
  ASSERT_THAT(session->Command("CREATE TEMPORARY TABLE left_open ()"), IsOk());
  EXPECT_TRUE(session->Reset());
  EXPECT_EQ(session->Command("SELECT * FROM left_open").code(), absl::StatusCode::kInternal);
  EXPECT_TRUE(session->Reset());
}

TEST(Session, DoesNotCommitAfterAFailedStatement) {
  const std::unique_ptr<Session> session = Connect();
  ASSERT_THAT(session->Command("BEGIN"), IsOk());
  EXPECT_FALSE(session->Command("SELECT 1 / 0").ok());
  EXPECT_EQ(session->Commit().code(), absl::StatusCode::kInternal);
}

TEST(Session, NoticesThatTheServerHungUp) {
  const std::unique_ptr<Session> session = Connect();
  EXPECT_TRUE(session->LooksAlive());
  const auto pid = session->QueryOptional<TextRow>(
      Statement{"test.Pid", "SELECT NULL::text AS text, pg_backend_pid()::bigint AS number"}, {});
  parley::testing::RunSql(
      ClusterDsn(), "SELECT pg_terminate_backend(" + std::to_string((*pid)->number) + ", 5000)");
  const absl::Time limit = absl::Now() + absl::Seconds(10);
  while (session->LooksAlive() && absl::Now() < limit) {
  }
  EXPECT_FALSE(session->LooksAlive());
  EXPECT_TRUE(IsConnectionLost(session->Ping()));
  EXPECT_FALSE(session->Reset());
}

TEST(Session, CannotConnectToNowhere) {
  EXPECT_THAT(Session::Connect(ClusterDsn().With("port", "1")),
              StatusIs(absl::StatusCode::kUnavailable, reason::kDatabaseUnavailable));
}

}  // namespace
}  // namespace parley::db
