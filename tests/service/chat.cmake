parley_test(chat_service_test
  SOURCES chat_service_test.cc
  LINKS parley::chat)
parley_test(erase_service_test
  SOURCES erase_service_test.cc
  LINKS parley::chat)
