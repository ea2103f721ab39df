#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "services/celery/broker_url.h"
#include "tests/support/status_matchers.h"

namespace parley::celery {
namespace {

struct Expected {
  const char* text;
  BrokerUrl url;
};

TEST(BrokerUrlTest, SaysWhereABrokerIs) {
  const Expected cases[] = {
      {"redis://localhost", {BrokerUrl::Kind::kRedis, "localhost", 6379, "", "", 0, "/"}},
      {"redis://localhost/", {BrokerUrl::Kind::kRedis, "localhost", 6379, "", "", 0, "/"}},
      {"redis://:pw@h:1/15", {BrokerUrl::Kind::kRedis, "h", 1, "", "pw", 15, "/"}},
      {"redis://u:p%40%3a%2F@h:65535/2",
       {BrokerUrl::Kind::kRedis, "h", 65535, "u", "p@:/", 2, "/"}},
      {"redis://u:p@q@[::1]:7000/0", {BrokerUrl::Kind::kRedis, "::1", 7000, "u", "p@q", 0, "/"}},
      {"amqp://h", {BrokerUrl::Kind::kRabbitMq, "h", 5672, "guest", "guest", 0, "/"}},
      {"amqp://h/", {BrokerUrl::Kind::kRabbitMq, "h", 5672, "guest", "guest", 0, "/"}},
      {"amqp://h//", {BrokerUrl::Kind::kRabbitMq, "h", 5672, "guest", "guest", 0, "/"}},
      {"amqp://h/%2F", {BrokerUrl::Kind::kRabbitMq, "h", 5672, "guest", "guest", 0, "/"}},
      {"amqp://u:p@h:5673/app", {BrokerUrl::Kind::kRabbitMq, "h", 5673, "u", "p", 0, "app"}},
      {"amqp://u:@h//app", {BrokerUrl::Kind::kRabbitMq, "h", 5672, "u", "", 0, "/app"}},
  };
  for (const Expected& expected : cases) {
    const auto url = ParseBrokerUrl(expected.text);
    ASSERT_TRUE(url.ok()) << expected.text << ": " << url.status();
    EXPECT_EQ(url->kind, expected.url.kind) << expected.text;
    EXPECT_EQ(url->host, expected.url.host) << expected.text;
    EXPECT_EQ(url->port, expected.url.port) << expected.text;
    EXPECT_EQ(url->user, expected.url.user) << expected.text;
    EXPECT_EQ(url->password, expected.url.password) << expected.text;
    EXPECT_EQ(url->database, expected.url.database) << expected.text;
    EXPECT_EQ(url->vhost, expected.url.vhost) << expected.text;
  }
}

TEST(BrokerUrlTest, RefusesTheRestAndRepeatsNothingOfIt) {
  for (const char* text : {"",
                           "secret",
                           "http://secret",
                           "rediss://secret",
                           "amqps://secret",
                           "redis:secret",
                           "redis://",
                           "redis:///0",
                           "redis://:secret@",
                           "redis://:secret@:6379",
                           "redis://secret@h",
                           "redis://h:0",
                           "redis://h:65536",
                           "redis://h:secret",
                           "redis://h:",
                           "redis://h/secret",
                           "redis://h/-1",
                           "redis://h/0/1",
                           "redis://[::1",
                           "redis://[::1]6379",
                           "redis://:secret%4@h",
                           "redis://:secret%zz@h",
                           "redis://h/0?secret=1",
                           "amqp://h/a#secret",
                           "amqp://:secret@",
                           "amqp://h/secret%"}) {
    const auto url = ParseBrokerUrl(text);
    ASSERT_EQ(url.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(std::string(url.status().message()),
                ::testing::Not(::testing::HasSubstr("secret")));
  }
}

}  // namespace
}  // namespace parley::celery
