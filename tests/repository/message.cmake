parley_test(message_repository_test
  SOURCES message_repository_test.cc
  LINKS parley::repository parley::test_support)
