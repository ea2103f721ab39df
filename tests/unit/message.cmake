parley_test(message_test
  SOURCES message_rules_test.cc schedule_convert_test.cc watch_test.cc watch_token_test.cc
  LINKS parley::message)
