parley_test(celery_unit_test
  SOURCES celery_broker_url_test.cc celery_json_members_test.cc celery_message_test.cc
          celery_result_test.cc
  LINKS parley::celery)
