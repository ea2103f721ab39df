#include "db/core/dsn.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "db/core/session.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_database.h"

namespace parley::db {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(Dsn, ReadsBothOfLibpqsForms) {
  for (const char* text : {"postgresql://ann:se%20cret@db.example:5433/chat?sslmode=require",
                           "host=db.example port=5433 user=ann password='se cret' dbname=chat "
                           "sslmode=require"}) {
    const absl::StatusOr<Dsn> dsn = Dsn::Parse(text);
    ASSERT_THAT(dsn, parley::testing::IsOk());
    EXPECT_EQ(dsn->Uri(),
              "postgresql://?dbname=chat&host=db.example&password=se%20cret&port=5433&"
              "sslmode=require&user=ann");
  }
}

TEST(Dsn, ShowsNoPassword) {
  const Dsn dsn = *Dsn::Parse("postgresql://ann:secret@db.example/chat");
  EXPECT_EQ(dsn.Redacted(), "host=db.example dbname=chat user=ann");
}

TEST(Dsn, RefusesWhatLibpqDoesWithoutRepeatingIt) {
  const absl::StatusOr<Dsn> dsn = Dsn::Parse("host=x passwort=secret");
  EXPECT_THAT(
      dsn, parley::testing::StatusIs(absl::StatusCode::kInvalidArgument, reason::kInvalidArgument));
  EXPECT_THAT(std::string(dsn.status().message()), Not(HasSubstr("secret")));
}

TEST(Dsn, TakesDefaultsOnlyWhereNothingWasSaid) {
  const Dsn dsn = Dsn::Parse("port=1")->WithDefault("port", "2").WithDefault("host", "h");
  EXPECT_EQ(dsn.Uri(), "postgresql://?host=h&port=1");
  EXPECT_EQ(dsn.With("port", "3").Uri(), "postgresql://?host=h&port=3");
}

TEST(Dsn, OfAwkwardValuesReachesTheServerAsItIs) {
  const std::string name = "a b'c\\d=e&f?%20";
  const Dsn dsn = parley::testing::ClusterDsn().With("application_name", name);
  EXPECT_EQ(parley::testing::RunSql(dsn, "SHOW application_name"), name);
  EXPECT_THAT(Session::Connect(dsn), parley::testing::IsOk());
}

}  // namespace
}  // namespace parley::db
