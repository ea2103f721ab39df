parley_test(chat_test
  SOURCES chat_convert_test.cc chat_rules_test.cc password_hasher_test.cc
  LINKS parley::chat)
