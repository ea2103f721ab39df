// How PostgreSQL runs a search in a big table: by the index, chat by chat.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "db/repository/statements.h"
#include "tests/support/plan.h"
#include "tests/support/temp_database.h"

namespace parley::testing {
namespace {

using nlohmann::json;

class SearchPlanTest : public ::testing::Test {
 protected:
  // 300 chats, 30,000 messages in the first and 100 in each other one; user 1 is in all of them,
  // user 2 in ten. "common" is in every message, "needle" in three.
  void FillTables() {
    database_.Sql(
        "INSERT INTO users (login, login_key) SELECT 'u' || i, 'u' || i"
        " FROM generate_series(1, 2) AS i;"
        "INSERT INTO chats (title, chat_type, creator_user_id, last_seq)"
        " SELECT 'c', 'group', 1, CASE i WHEN 1 THEN 30000 ELSE 100 END"
        " FROM generate_series(1, 300) AS i;"
        "INSERT INTO chat_user (chat_id, user_id, role) SELECT id, 1, 'owner' FROM chats;"
        "INSERT INTO chat_user (chat_id, user_id, role)"
        " SELECT id, 2, 'member' FROM chats WHERE id <= 10;"
        "DROP INDEX messages_search;"
        "INSERT INTO messages (chat_id, seq, user_id, text, search)"
        " SELECT chat_id, seq, 1, 'x', to_tsvector('simple', 'common word'"
        "   || CASE WHEN n % 20000 = 7 THEN ' needle' ELSE '' END)"
        " FROM (SELECT row_number() OVER () AS n, c.id AS chat_id, seq"
        "       FROM chats AS c, generate_series(1, c.last_seq) AS seq) AS all_of_them;"
        "CREATE INDEX messages_search ON messages USING gin (chat_id, search);");
    database_.Sql("VACUUM ANALYZE messages");
    database_.Sql("VACUUM ANALYZE chat_user");
    database_.Sql("VACUUM ANALYZE chats");
  }

  // The nodes of the plan that knows no values, with what they really did.
  std::vector<json> Explain(const db::Statement& statement, const std::string& query,
                            const std::string& chats) {
    const std::string sql = absl::StrReplaceAll(statement.sql, {{":language::text", "$1::text"},
                                                                {":query::text", "$2::text"},
                                                                {":user_id", "$3"},
                                                                {":first_chat_id", "$4"},
                                                                {":last_chat_id", "$5"},
                                                                {":after_us", "$6"},
                                                                {":after_chat_id", "$7"},
                                                                {":after_seq", "$8"},
                                                                {":after_rank", "$9"},
                                                                {":offset", "$10"},
                                                                {":limit", "$11"}});
    return PlanNodes(database_.Sql(absl::StrCat(
        "SET plan_cache_mode = force_generic_plan;"
        "PREPARE search(text, text, bigint, bigint, bigint, bigint, bigint, bigint, text, bigint,"
        " bigint) AS ",
        sql, "; EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE search('simple', '", query, "', ",
        chats, ", NULL, 0, 0, '0', 0, 21)")));
  }

  TempDatabase database_;
};

TEST_F(SearchPlanTest, ReadsOnlyWhatMatchesByTheIndex) {
  FillTables();
  for (const db::Statement* statement :
       {&db::sql::search::SearchNewest, &db::sql::search::SearchRanked}) {
    // User, first chat, last chat.
    for (const char* chats : {"1, 1, 1", "1, 1, 999", "2, 1, 999"}) {
      double read = -1;
      for (const json& node : Explain(*statement, "needle", chats)) {
        const std::string type = node["Node Type"];
        EXPECT_NE(type, "Seq Scan") << statement->name << node.dump(2);
        if (node.value("Index Name", "") == "messages_search") read = RowsOf(node);
        if (node.value("Index Name", "") == "messages_pkey") {
          EXPECT_LE(RowsOf(node), 21) << statement->name;
        }
      }
      EXPECT_GE(read, 0) << statement->name << " does not use the index";
      EXPECT_LE(read, 3) << statement->name;
      // A few pages of the index for each chat, not the chats' messages.
      const json top = Explain(*statement, "needle", chats).front();
      EXPECT_LT(top["Shared Hit Blocks"].get<int>() + top["Shared Read Blocks"].get<int>(), 6000)
          << statement->name << " " << chats;
    }
    bool by_index = false;
    for (const json& node : Explain(*statement, "common", "1, 1, 1")) {
      EXPECT_NE(node["Node Type"], "Seq Scan");
      by_index = by_index || node.value("Index Name", "") == "messages_search";
    }
    EXPECT_TRUE(by_index) << statement->name;
  }
}

TEST_F(SearchPlanTest, WalksFromTheEndWhereNearlyAllMatches) {
  FillTables();
  for (const char* chats : {"1, 1, 1", "1, 1, 999"}) {
    double read = 0;
    for (const json& node : Explain(db::sql::search::WalkNewest, "-needle", chats)) {
      EXPECT_NE(node["Node Type"], "Seq Scan");
      EXPECT_NE(node.value("Index Name", ""), "messages_search");
      if (node.value("Index Name", "") == "messages_pkey") read += RowsOf(node);
    }
    EXPECT_LE(read, 21 * 300);
  }
}

}  // namespace
}  // namespace parley::testing
