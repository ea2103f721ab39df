# How the project's targets are made: one function a kind, so that every target has the same
# warnings and sanitizers and is known by its parley:: alias only.

add_library(parley_options INTERFACE)
target_include_directories(parley_options INTERFACE ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/generated)
target_compile_options(parley_options INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wnon-virtual-dtor -Woverloaded-virtual)
# Params structs are filled by name, and what is left out has its default on purpose.
target_compile_options(parley_options INTERFACE -Wno-missing-field-initializers)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC 12 sees overlaps in std::string's operator+ that are not there (GCC bug 105651).
  target_compile_options(parley_options INTERFACE -Wno-restrict)
endif()
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  target_compile_options(parley_options INTERFACE -Wthread-safety)
endif()
if(PARLEY_WERROR)
  target_compile_options(parley_options INTERFACE -Werror)
endif()
if(PARLEY_SANITIZE)
  # Everything is instrumented, generated code too; third-party libraries are as they are installed.
  add_compile_options(-fsanitize=${PARLEY_SANITIZE} -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${PARLEY_SANITIZE})
  if(PARLEY_SANITIZE MATCHES "undefined")
    # vptr checks need typeinfo that SOCI's PostgreSQL library does not export.
    add_compile_options(-fno-sanitize-recover=undefined -fno-sanitize=vptr)
  endif()
endif()

# parley_library(name SOURCES a.cc... LINKS parley::x...): a static library, known as parley::name.
function(parley_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  add_library(parley_${name} STATIC ${ARG_SOURCES})
  add_library(parley::${name} ALIAS parley_${name})
  target_link_libraries(parley_${name} PUBLIC ${ARG_LINKS} PRIVATE parley_options)
  target_include_directories(parley_${name} PUBLIC ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/generated)
endfunction()

# parley_binary(name SOURCES a.cc... LINKS parley::x...): an executable.
function(parley_binary name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ${ARG_LINKS} parley_options)
endfunction()

# parley_test_program(name): the GoogleTest binary of this directory; parley_test gives it sources.
# One for a whole tier, whose sources are compiled together: most of what a test costs to compile is
# gRPC's headers. The test code is not optimised: that would take longer than running it.
function(parley_test_program name)
  parley_binary(${name} SOURCES ${CMAKE_SOURCE_DIR}/tests/support/main.cc
    LINKS parley::test_support GTest::gmock)
  target_compile_options(${name} PRIVATE -O0)
  set(PARLEY_TEST_PROGRAM ${name} PARENT_SCOPE)
endfunction()

# parley_test(name SOURCES a_test.cc... LINKS parley::x...): one CTest test, which runs what these
# sources add to the directory's program, in a process of its own.
function(parley_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  target_sources(${PARLEY_TEST_PROGRAM} PRIVATE ${ARG_SOURCES})
  target_link_libraries(${PARLEY_TEST_PROGRAM} PRIVATE ${ARG_LINKS})
  add_test(NAME ${name} COMMAND ${PARLEY_TEST_PROGRAM} ${ARG_SOURCES})
endfunction()
