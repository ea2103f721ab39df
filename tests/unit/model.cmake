parley_test(model_test
  SOURCES firing_plan_test.cc
  LINKS parley::model)
