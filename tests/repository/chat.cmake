parley_test(chat_repository_test
  SOURCES chat_repository_test.cc erasure_repository_test.cc user_repository_test.cc
  LINKS parley::repository)
