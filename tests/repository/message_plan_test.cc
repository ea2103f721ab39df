// How PostgreSQL runs the statements of the hot lanes in a chat of 200,000 messages: what they
// touch depends on what they return, not on how much there is or how deep it lies.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "db/core/hot_connection.h"
#include "db/repository/statements.h"
#include "tests/support/plan.h"
#include "tests/support/temp_database.h"

namespace parley::testing {
namespace {

namespace sql = db::sql::message;
using nlohmann::json;

// What PostgreSQL did for one statement.
struct Explained {
  std::vector<json> nodes;  // of the plan, from the top
  double pages = 0;         // read or hit
  std::string text;
};

// Runs the statement in a transaction that is rolled back. `values` are SQL, and so is what the
// transaction does `before`.
Explained Explain(const TempDatabase& database, const db::Statement& statement,
                  const std::string& values, const std::string& before = "") {
  const std::string plan = database.Sql(absl::StrCat(
      "BEGIN; ", before, "; ", db::kHotSettings, "; SET jit = off; PREPARE hot AS ", statement.sql,
      "; EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE hot(", values, ")"));
  Explained explained;
  explained.nodes = PlanNodes(plan);
  const json& top = explained.nodes.front();
  explained.pages =
      top["Shared Hit Blocks"].get<double>() + top["Shared Read Blocks"].get<double>();
  explained.text = absl::StrCat(statement.name, "(", values, "): ", plan);
  return explained;
}

// No table is read from end to end, no index either, and nothing is sorted but a page.
void ExpectFrugal(const Explained& explained, double most_rows) {
  for (const json& node : explained.nodes) {
    const std::string type = node["Node Type"];
    EXPECT_NE(type, "Seq Scan") << explained.text;
    if (type == "Sort" || type == "Incremental Sort") {
      EXPECT_LE(RowsOf(node), most_rows) << explained.text;
    }
    if (node.value("Relation Name", "") != "messages" || type == "ModifyTable") continue;
    EXPECT_LE(RowsOf(node), most_rows) << explained.text;
    EXPECT_LE(node.value("Rows Removed by Filter", 0.0) * node["Actual Loops"].get<double>(),
              most_rows)
        << explained.text;
  }
}

// An array literal of item(0), item(1)...
template <class Item>
std::string Array(int count, Item item) {
  std::vector<std::string> items;
  for (int i = 0; i < count; ++i) items.push_back(absl::StrCat(item(i)));
  return absl::StrCat("'{", absl::StrJoin(items, ","), "}'");
}

// The values of InsertMessages for a message each to chats 1, 2... by user 1.
std::string Messages(int count) {
  const auto one = [](int) { return 1; };
  return absl::StrJoin(
      {Array(count, [](int i) { return i + 1; }), Array(count, one),
       Array(count, [](int) { return "text"; }),
       Array(count, [](int i) { return absl::StrCat("new-", i); }),
       Array(count, [](int) { return "f"; }), Array(count, one), std::string("'simple'")},
      ", ");
}

// Chat 1 has 200,000 messages, every 200th a tombstone; chats 2 to 5001 have ten each. User
// 1 is in all of them and writes in each; user 2 is in a hundred.
class MessagePlanTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    database_ = std::make_unique<TempDatabase>();
    database_->Sql(
        "INSERT INTO users (login, login_key) SELECT 'u' || i, 'u' || i"
        " FROM generate_series(1, 5000) AS i;"
        "INSERT INTO chats (title, chat_type, creator_user_id, last_seq, last_sent_at)"
        " SELECT 'c', 'group', 1, CASE i WHEN 1 THEN 200000 ELSE 10 END, now()"
        " FROM generate_series(1, 5001) AS i;"
        "INSERT INTO chat_user (chat_id, user_id, role) SELECT id, 1, 'owner' FROM chats;"
        "INSERT INTO chat_user (chat_id, user_id, role)"
        " SELECT id, 2, 'member' FROM chats WHERE id <= 100;"
        "DROP INDEX messages_search, messages_by_author, messages_by_id, messages_request,"
        " messages_tombstones;"
        "ALTER TABLE messages DISABLE TRIGGER ALL;"
        "INSERT INTO messages (chat_id, seq, user_id, text, search, deleted, created_at)"
        " SELECT c.id, seq, 1, CASE WHEN gone THEN '' ELSE 'text' END,"
        "   CASE WHEN gone THEN NULL ELSE ''::tsvector END, gone,"
        "   '2026-01-01'::timestamptz + seq * interval '1 second'"
        " FROM chats AS c, generate_series(1, c.last_seq) AS seq,"
        "   LATERAL (SELECT seq % 200 = 100 AS gone) AS g"
        " ORDER BY c.id, seq;"
        "ALTER TABLE messages ENABLE TRIGGER ALL;"
        "CREATE INDEX messages_tombstones ON messages (chat_id, seq) INCLUDE (user_id)"
        " WHERE deleted;"
        "CREATE UNIQUE INDEX messages_request ON messages (chat_id, user_id, request_id)"
        " WHERE request_id IS NOT NULL;"
        "CREATE INDEX messages_by_id ON messages (id);"
        "CREATE INDEX messages_by_author ON messages (user_id, chat_id, seq);"
        "CREATE INDEX messages_search ON messages USING gin (chat_id, search);"
        "INSERT INTO tombstone_blocks SELECT chat_id, seq / 16384, count(*) FROM messages"
        " WHERE deleted GROUP BY 1, 2;");
    for (const char* table : {"messages", "chats", "chat_user", "users", "tombstone_blocks"}) {
      database_->Sql(absl::StrCat("VACUUM ANALYZE ", table));
    }
  }
  static void TearDownTestSuite() { database_.reset(); }

  static Explained Run(const db::Statement& statement, const std::string& values,
                       const std::string& before = "") {
    return Explain(*database_, statement, values, before);
  }

  static std::unique_ptr<TempDatabase> database_;
};
std::unique_ptr<TempDatabase> MessagePlanTest::database_;

TEST_F(MessagePlanTest, ReadsAPageAnywhereInAChatForTheSamePrice) {
  constexpr double kPage = 21;
  double first = 0;
  // Chat, before or after, limit, whether tombstones too.
  for (const char* start : {"200001", "180000", "100000", "1000", "22"}) {
    for (const char* tombstones : {"true", "false"}) {
      const Explained page = Run(sql::ListNewest, absl::StrCat("1, ", start, ", 21, ", tombstones));
      ExpectFrugal(page, kPage);
      if (first == 0) first = page.pages;
      EXPECT_LE(page.pages, first * 2 + 5) << page.text;
    }
  }
  for (const char* start : {"0", "20000", "100000", "199979"}) {
    const Explained page = Run(sql::ListOldest, absl::StrCat("1, ", start, ", 21, false"));
    ExpectFrugal(page, kPage);
    EXPECT_LE(page.pages, first * 2 + 5) << page.text;
  }
}

TEST_F(MessagePlanTest, ReadsAPageAtAnyOffsetForNearlyTheSamePrice) {
  for (const auto& [statement, start] : std::vector<std::pair<const db::Statement*, const char*>>{
           {&sql::ListNewestAtOffset, "200001"}, {&sql::ListOldestAtOffset, "0"}}) {
    for (const char* tombstones : {"true", "false"}) {
      const auto at = [&, statement = statement, start = start](const char* offset) {
        return Run(*statement, absl::StrCat("1, ", start, ", 21, ", tombstones, ", ", offset));
      };
      const double first = at("0").pages;
      for (const char* offset : {"1000", "100000", "180000", "198000"}) {
        const Explained page = at(offset);
        // Of a thousand tombstones those of two blocks are counted, in their own index.
        ExpectFrugal(page, 100);
        EXPECT_LE(page.pages, first * 3 + 20) << page.text;
        EXPECT_EQ(page.nodes.front()["Actual Rows"], 21) << page.text;
      }
      // Beyond the end, as far as can be asked.
      ExpectFrugal(at("2000000"), 100);
      ExpectFrugal(at("9000000000000000000"), 100);
    }
  }
}

TEST_F(MessagePlanTest, DoesNotCreepThroughALongRunOfTombstones) {
  const Explained page = Run(sql::ListNewestAtOffset, "1, 200001, 21, false, 1",
                             "UPDATE messages SET deleted = true, text = '', search = NULL"
                             " WHERE chat_id = 1 AND seq > 190000");
  EXPECT_EQ(page.nodes.front()["Actual Rows"], 21) << page.text;
  for (const json& node : page.nodes) {
    if (node["Node Type"] != "Recursive Union") continue;
    EXPECT_LE(RowsOf(node), 2) << page.text;
  }
}

TEST_F(MessagePlanTest, FindsATimeByHalving) {
  for (const char* time : {"2026-01-01 00:00:01", "2026-01-02 12:00:00", "2030-01-01"}) {
    const Explained found =
        Run(sql::FindSeqAtTime, absl::StrCat("1, '", time, "+00'::timestamptz"));
    ExpectFrugal(found, 25);
    EXPECT_LE(found.pages, 25 * 6) << found.text;
  }
}

TEST_F(MessagePlanTest, ReadsMessagesByTheirKeys) {
  ExpectFrugal(Run(sql::GetMessage, "1, 100000"), 1);
  ExpectFrugal(Run(sql::GetMessageById, "100000"), 1);
  const std::string hundred = Array(100, [](int i) { return (i + 1) * 1999; });
  ExpectFrugal(Run(sql::BatchGetMessages, absl::StrCat("1, ", hundred)), 100);
  ExpectFrugal(Run(sql::BatchGetMessagesById, hundred), 100);
}

TEST_F(MessagePlanTest, SendsWithoutReadingWhatIsThere) {
  for (const int count : {1, 100}) {
    const std::string chats = Array(count, [](int i) { return i + 1; });
    const std::string ones = Array(count, [](int) { return 1; });
    const Explained advanced = Run(sql::AdvanceChats, absl::StrCat(chats, ", ", ones));
    ExpectFrugal(advanced, count);
    const Explained inserted =
        Run(sql::InsertMessages, Messages(count),
            absl::StrCat("UPDATE chats SET last_seq = last_seq + 1 WHERE id <= ", count));
    ExpectFrugal(inserted, count);
    EXPECT_EQ(inserted.nodes.front()["Actual Rows"], count) << inserted.text;
  }
  ExpectFrugal(Run(sql::LockChatNowOrNever, "1"), 1);
}

TEST_F(MessagePlanTest, CountsUnreadMessagesFromCounters) {
  // Nothing is marked as read. Of the big chat's messages only the tombstones are looked at.
  const Explained counts = Run(sql::GetUnreadCounts, "2, '{}'");
  ExpectFrugal(counts, 1100);
  EXPECT_EQ(counts.nodes.front()["Actual Rows"], 100) << counts.text;
  EXPECT_LE(counts.pages, 100 * 10 + 50) << counts.text;
  ExpectFrugal(Run(sql::GetUnreadCounts, "1, '{1, 2, 3}'"), 1100);
  ExpectFrugal(Run(sql::FindReader, "1"), 1);
}

// A server may prepare its statements on the day the database is made, and keep the plans until
// somebody counts the rows.
TEST(MessagePlan, HoldsThoughMadeForAnEmptyDatabase) {
  const TempDatabase database;
  const std::vector<std::pair<const db::Statement*, std::string>> statements = {
      {&sql::AdvanceChats, "'{1}', '{1}'"},
      {&sql::InsertMessages, Messages(1)},
      {&sql::GetMessage, "1, 1"},
      {&sql::GetMessageById, "1"},
      {&sql::BatchGetMessages, "1, '{1, 2}'"},
      {&sql::BatchGetMessagesById, "'{1, 2}'"},
      {&sql::ListNewest, "1, 100, 21, false"},
      {&sql::ListOldest, "1, 0, 21, false"},
      {&sql::ListNewestAtOffset, "1, 100, 21, false, 0"},
      {&sql::ListOldestAtOffset, "1, 0, 21, false, 0"},
      {&sql::FindSeqAtTime, "1, now()"},
      {&sql::GetUnreadCounts, "1, '{}'"}};
  for (const auto& [statement, values] : statements) {
    const Explained explained = Explain(database, *statement, values);
    for (const json& node : explained.nodes) {
      const std::string table = node.value("Relation Name", "");
      if (table != "messages" && table != "retired_requests" && table != "tombstone_blocks") {
        continue;
      }
      if (node["Node Type"] == "ModifyTable") continue;
      EXPECT_NE(node["Node Type"], "Seq Scan") << explained.text;
      // By its whole key, or a range that begins with the chat.
      if (node["Node Type"] != "Bitmap Heap Scan") {
        EXPECT_TRUE(node.contains("Index Cond")) << explained.text;
      }
    }
  }
}

}  // namespace
}  // namespace parley::testing
