parley_test(dispatcher_test
  SOURCES dispatcher_test.cc
  LINKS parley::scheduler)
parley_test(scheduler_service_test
  SOURCES queue_service_test.cc scheduler_service_test.cc task_schedule_service_test.cc
          wait_task_test.cc work_stream_test.cc worker_service_test.cc
  LINKS parley::scheduler)
