#!/usr/bin/python3
"""Tests of the two checks beside this file: that they pass what is right and fail what is not."""

import pathlib
import tempfile
import unittest

import check_includes
import statement_coverage


class CheckIncludes(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)

    def problems(self, name, *headers):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f'#include "{header}"\n' for header in headers), encoding="utf-8")
        return check_includes.check(self.root)[0]

    def assertPasses(self, name, *headers):
        self.assertEqual([], self.problems(name, *headers))

    def assertFails(self, name, header):
        found = self.problems(name, header)
        self.assertEqual(1, len(found), found)
        self.assertIn(f"{name}:1: {header}: ", found[0])

    def test_edges_of_the_plan_pass(self):
        self.assertPasses("base/text.cc", "base/text.h", "utf8proc.h", "absl/time/time.h", "string")
        self.assertPasses("db/model/chat.h", "absl/time/time.h", "base/text.h")
        self.assertPasses("db/core/session.cc", "soci/soci.h", "libpq-fe.h", "db/model/page.h")
        self.assertPasses("db/repository/chat_repository.cc", "db/core/session.h", "soci/soci.h")
        self.assertPasses("db/adopt/adopt.cc", "db/migrator/connection.h", "libpq-fe.h")
        self.assertPasses("db/migrator/cli/adopt.cc", "db/adopt/adopt.h")
        self.assertPasses("services/runtime/host.cc", "grpcpp/grpcpp.h", "base/mutex.h")
        self.assertPasses("services/jobs/worker.cc", "db/repository/task_repository.h")
        self.assertPasses("services/jobs/time_convert.cc", "parley/scheduler/v1/task.pb.h")
        self.assertPasses("services/chat/chat_rules.cc", "db/model/chat.h")
        self.assertPasses("services/chat/user_eraser.cc", "services/jobs/worker.h")
        self.assertPasses("services/chat/main.cc", "services/chat/chat_service.h", "db/core/dsn.h")

    def test_edges_against_the_plan_fail(self):
        for name, header in (
            ("base/text.cc", "db/model/chat.h"),
            ("db/model/chat.h", "soci/soci.h"),
            ("db/model/chat.h", "db/core/session.h"),
            ("db/model/chat.h", "parley/chat/v1/chat.pb.h"),
            ("db/core/session.cc", "grpcpp/grpcpp.h"),
            ("db/core/session.cc", "db/repository/chat_repository.h"),
            ("db/repository/chat_repository.cc", "parley/chat/v1/chat.pb.h"),
            ("db/repository/chat_repository.cc", "services/runtime/log.h"),
            ("db/migrator/migrator.cc", "db/adopt/adopt.h"),
            ("db/adopt/adopt.cc", "db/repository/chat_repository.h"),
            ("services/runtime/host.cc", "db/core/dsn.h"),
            ("services/runtime/host.cc", "services/chat/chat_service.h"),
            ("services/runtime/host.cc", "parley/chat/v1/chat.pb.h"),
            ("services/jobs/worker.cc", "services/chat/chat_service.h"),
            ("services/jobs/worker.cc", "parley/scheduler/v1/task.pb.h"),
            ("services/jobs/time_convert.cc", "db/repository/task_repository.h"),
            ("services/runtime/host.cc", "services/jobs/worker.h"),
            ("services/chat/chat_rules.cc", "services/jobs/worker.h"),
            ("services/chat/chat_rules.cc", "grpcpp/grpcpp.h"),
            ("services/chat/chat_rules.cc", "db/repository/chat_repository.h"),
            ("services/chat/chat_convert.cc", "soci/soci.h"),
            ("services/chat/chat_service.cc", "libpq-fe.h"),
            ("services/chat/chat_service.cc", "services/message/message_service.h"),
            ("services/chat/main.cc", "services/message/message_service.h"),
        ):
            with self.subTest(f"{name} -> {header}"):
                self.assertFails(name, header)
                (self.root / name).unlink()

    def test_an_unknown_library_fails(self):
        self.assertFails("db/core/session.cc", "boost/asio.hpp")

    def test_a_file_outside_the_rooms_fails(self):
        self.assertEqual(["db/extra/x.h: in no room of the plan"], self.problems("db/extra/x.h"))

    def test_includes_are_found_in_all_spellings(self):
        path = self.root / "db/model/chat.h"
        path.parent.mkdir(parents=True)
        path.write_text("#pragma once\n  #  include <soci/soci.h>\n// #include <soci/x.h>\n")
        problems, seen = check_includes.check(self.root)
        self.assertEqual(1, seen)
        self.assertEqual(1, len(problems))

    def test_tests_may_include_anything(self):
        self.assertPasses("base/text_test.cc", "gtest/gtest.h", "services/chat/chat_service.h")


class StatementCoverage(unittest.TestCase):
    def test_names_carry_their_file(self):
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "chat.sql").write_text(
                "-- Chats.\n\n-- name: GetChat\nSELECT 1;\n\n-- name: InsertChat\nSELECT 2;\n",
                encoding="utf-8",
            )
            names = statement_coverage.named_statements(folder)
        self.assertEqual({"chat.GetChat", "chat.InsertChat"}, names)

    def test_only_a_leading_comment_names_a_statement(self):
        self.assertEqual("a.B", statement_coverage.COMMENT.match("/* a.B */ SELECT $1").group(1))
        self.assertIsNone(statement_coverage.COMMENT.match("SELECT '/* a.B */'"))

    def test_a_statement_never_executed_fails(self):
        self.assertEqual(1, statement_coverage.report({"a.B", "a.C"}, {"a.B"}, None))
        self.assertEqual(0, statement_coverage.report({"a.B"}, {"a.B"}, None))

    def test_nothing_to_check_fails(self):
        self.assertEqual(1, statement_coverage.report(set(), set(), None))
        self.assertEqual(1, statement_coverage.report({"a.B"}, set(), "no view"))


if __name__ == "__main__":
    unittest.main()
