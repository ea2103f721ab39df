parley_test(message_service_test
  SOURCES call_pipeline_test.cc message_service_search_test.cc message_service_test.cc
  LINKS parley::message)
parley_test(schedule_service_test
  SOURCES schedule_service_test.cc
  LINKS parley::message)
parley_test(watch_service_test
  SOURCES watch_service_test.cc
  LINKS parley::message)
