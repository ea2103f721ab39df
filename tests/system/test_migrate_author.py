"""parley-migrate for those who write migrations: new and lint, as a shell and an editor see them."""

import datetime
import json
import pathlib
import re
import subprocess
import tempfile
import unittest

from programs import PATIENCE, binary, environment

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
VERSION = "%Y%m%d%H%M%S"

FINDING, USAGE = 1, 2

LATER = "29990101000000"
BAD = """-- parley:phase expand
-- migrate:up
-- +goose Up
CREATE INDEX t_by_a ON t (a);
  LOCK TABLE t;
-- migrate:down
-- +goose Down
DROP INDEX t_by_a;
"""


class AuthorCase(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="parley-author-")
        self.addCleanup(directory.cleanup)
        self.root = pathlib.Path(directory.name)
        self.folder = self.root / "db" / "migrations"
        self.folder.mkdir(parents=True)

    def run_in(self, directory, *arguments, code=0):
        done = subprocess.run([binary("migrate"), *arguments], cwd=directory, text=True,
                              capture_output=True, timeout=PATIENCE, env=environment(None))
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done

    def run_here(self, *arguments, code=0):
        return self.run_in(self.root, *arguments, code=code)

    def write(self, name, text):
        (self.folder / name).write_text(text, encoding="utf-8")

    def names(self):
        return sorted(path.name for path in self.folder.iterdir())


class NewTest(AuthorCase):
    def now(self):
        return datetime.datetime.now(datetime.timezone.utc).strftime(VERSION)

    def test_writes_a_file_of_this_moment_that_says_what_to_do_next(self):
        before = self.now()
        out = self.run_here("new", "messages_by_author").stdout
        [name] = self.names()
        self.assertRegex(name, r"^\d{14}_messages_by_author\.sql$")
        self.assertTrue(before <= name[:14] <= self.now(), name)
        for text in (f"db/migrations/{name}", "CMakeLists.txt", "lint", "sum"):
            self.assertIn(text, out)

    def fill(self, name, up, down):
        path = self.folder / name
        text = path.read_text(encoding="utf-8")
        text = re.sub(r"(\+goose Up\n)", rf"\1{up}\n", text) + down + "\n"
        path.write_text(text, encoding="utf-8")

    def test_what_it_writes_lacks_statements_and_nothing_else(self):
        for arguments, up, down in (
                (["table"], "CREATE TABLE t (a bigint);", "DROP TABLE t;"),
                (["column", "--contract"], "ALTER TABLE t DROP COLUMN a;", "SELECT 1;"),
                (["index", "--no-transaction"], "CREATE INDEX CONCURRENTLY t_by_a ON t (a);",
                 "DROP INDEX CONCURRENTLY t_by_a;")):
            self.run_here("new", *arguments)
            name = self.names()[-1]
            out = self.run_here("lint", code=FINDING).stdout
            self.assertRegex(out, rf"^db/migrations/{name}:\d+:1: file-form: .*is empty\n$")
            self.fill(name, up, down)
            self.assertEqual(self.run_here("lint").stdout, "")

    def test_is_later_than_all_that_are_there(self):
        self.write(f"{LATER}_far.sql", BAD)
        self.write("29981231235959_near.sql", BAD)
        self.run_here("new", "one", "--dir", str(self.folder))
        self.run_here("new", "two", "--dir", str(self.folder))
        self.assertEqual(self.names()[-2:], ["29990101000001_one.sql", "29990101000002_two.sql"])

    def test_refuses_names_and_places(self):
        self.write(f"{LATER}_taken.sql", BAD)
        for arguments in (["new"], ["new", "a-b"], ["new", "a b"], ["new", ""], ["new", "../a"],
                          ["new", "a.sql"], ["new", "taken"]):
            self.run_here(*arguments, code=USAGE)
        self.assertEqual(self.names(), [f"{LATER}_taken.sql"])
        self.run_here("new", "a", "--dir", str(self.root / "nowhere"), code=1)
        self.assertIn("give --dir", self.run_in(self.folder, "new", "a", code=USAGE).stderr)

    def test_tells_a_program_where_the_file_is(self):
        said = json.loads(self.run_here("new", "a", "--json").stdout)
        self.assertEqual(said, {"event": "written", "file": f"db/migrations/{self.names()[0]}"})


class LintTest(AuthorCase):
    def test_says_what_is_wrong_as_compilers_do(self):
        self.write(f"{LATER}_bad.sql", BAD)
        done = self.run_here("lint", code=FINDING)
        first, second = done.stdout.splitlines()
        place = f"db/migrations/{LATER}_bad.sql"
        self.assertTrue(first.startswith(f"{place}:4:1: index-not-concurrently: "), first)
        self.assertTrue(second.startswith(f"{place}:5:3: lock-table: "), second)
        self.assertIn("2 findings", done.stderr)

    def test_says_it_to_programs(self):
        self.write(f"{LATER}_bad.sql", BAD)
        first, second = map(json.loads,
                            self.run_here("lint", "--json", code=FINDING).stdout.splitlines())
        self.assertGreater(len(first.pop("text")), 20)
        self.assertEqual(first, {"event": "finding", "file": f"db/migrations/{LATER}_bad.sql",
                                 "line": 4, "column": 1, "rule": "index-not-concurrently"})
        self.assertEqual(second["rule"], "lock-table")

    def test_passes_over_what_was_released(self):
        self.write(f"{LATER}_bad.sql", BAD)
        self.run_here("lint", "--since", LATER)
        (self.folder / "LINT_BASELINE").write_text(LATER + "\n", encoding="utf-8")
        self.run_here("lint")
        self.run_here("lint", "--since", "29981231235959", code=FINDING)
        for slip in ("yesterday", "29990102000000", ""):
            (self.folder / "LINT_BASELINE").write_text(slip + "\n", encoding="utf-8")
            self.assertIn("LINT_BASELINE", self.run_here("lint", code=USAGE).stderr)
        self.run_here("lint", "--since", "yesterday", code=USAGE)

    def test_goes_on_after_a_file_that_is_none(self):
        self.write("29980101000000_none.sql", "SELECT 1;")
        self.write(f"{LATER}_bad.sql", BAD)
        rules = re.findall(r": ([a-z-]+): ", self.run_here("lint", code=FINDING).stdout)
        self.assertEqual(rules, ["file-form", "index-not-concurrently", "lock-table"])

    def test_lists_its_rules(self):
        said = [json.loads(line) for line in self.run_here("lint", "--rules", "--json").stdout.splitlines()]
        self.assertGreater(len(said), 30)
        plain = self.run_in(self.root, "lint", "--rules").stdout
        for rule in said:
            self.assertRegex(plain, rf"(?m)^{rule['rule']} +\S")

    def test_finds_nothing_in_our_own_migrations(self):
        self.run_in(ROOT, "lint")
        # What was released before there were rules breaks some.
        self.run_in(ROOT, "lint", "--since", "20260101000000", code=FINDING)


if __name__ == "__main__":
    unittest.main()
