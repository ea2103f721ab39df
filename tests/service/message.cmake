parley_test(message_service_test
  SOURCES call_pipeline_test.cc message_service_test.cc
  LINKS parley::message parley::test_support)
