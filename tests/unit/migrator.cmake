parley_test(migration_set_test SOURCES migration_set_test.cc LINKS parley::migrator)
