parley_test(adopt_test SOURCES adopt_label_map_test.cc LINKS parley::adopt)
