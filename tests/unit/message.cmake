parley_test(message_test SOURCES message_rules_test.cc LINKS parley::message)
