"""dbmate and goose read our migrations as we do: what one applies, the others take as applied, and what
they make is the same.

goose keeps a history of its own, goose_db_version, which nobody else writes to. So a database is handed
over by telling the other history where it stands: `parley-migrate stamp` for what goose has applied, and
FILL_GOOSE for the way back.
"""

import pathlib
import subprocess
import tempfile
import unittest

from database import Database
from programs import PATIENCE, environment, setting

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
OURS = ROOT / "db" / "migrations"
PENDING, MISMATCH = 3, 4

FILL_GOOSE = """INSERT INTO goose_db_version (version_id, is_applied)
SELECT version::bigint, true FROM schema_migrations ORDER BY version"""

# What is read differently, if anything is: a section without a transaction, and semicolons inside a
# statement.
AWKWARD = {
    "20270101000000_words.sql": """-- Words.
-- parley:phase expand
-- migrate:up
-- +goose Up
CREATE TABLE words (id bigint PRIMARY KEY, word text NOT NULL);
INSERT INTO words VALUES (1, 'a;'), (2, '-- b'), (3, 'c $$ d');
-- migrate:down
-- +goose Down
DROP TABLE words;
""",
    "20270101000100_index.sql": """-- parley:phase expand
-- +goose NO TRANSACTION
-- migrate:up transaction:false
-- +goose Up
CREATE UNIQUE INDEX CONCURRENTLY words_by_word ON words (word);
-- migrate:down transaction:false
-- +goose Down
DROP INDEX CONCURRENTLY words_by_word;
""",
    "20270101000200_function.sql": """-- parley:phase expand
-- migrate:up
-- +goose Up
-- +goose StatementBegin
CREATE FUNCTION count_words(at_least bigint) RETURNS bigint LANGUAGE plpgsql AS $body$
DECLARE
  total bigint;
BEGIN
  SELECT count(*) INTO total FROM words; -- all; of them
  IF total < at_least THEN
    RAISE EXCEPTION 'only % words; too few', total;
  END IF;
  RETURN total;
END $body$;
-- +goose StatementEnd

-- +goose StatementBegin
DO $$ BEGIN
  PERFORM count_words(3);
END $$;
-- +goose StatementEnd
-- migrate:down
-- +goose Down
DROP FUNCTION count_words;
""",
}


def run(*command):
    """Runs a tool to its end in an empty directory: they read settings from files around them."""
    with tempfile.TemporaryDirectory(prefix="parley-oracle-") as directory:
        done = subprocess.run(command, cwd=directory, env=environment(None), text=True,
                              capture_output=True, timeout=PATIENCE)
    return done.returncode, done.stdout + done.stderr


class OracleTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.folder = OURS

    def new_database(self):
        database = Database("oracle", migrate=False)
        self.addCleanup(database.drop)
        return database

    def awkward_folder(self):
        directory = tempfile.TemporaryDirectory(prefix="parley-migrations-")
        self.addCleanup(directory.cleanup)
        self.folder = pathlib.Path(directory.name)
        for name, text in AWKWARD.items():
            (self.folder / name).write_text(text, encoding="utf-8")

    def files(self):
        return sorted(path.name for path in self.folder.glob("*.sql"))

    # Each runs a tool and expects that it succeeds.

    def ours(self, database, *arguments, code=0):
        done = database.migrate(*arguments, "--dir", str(self.folder), check=False)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done.stdout

    def dbmate(self, database, *arguments):
        code, output = run(setting("DBMATE"), "--url", database.url, "--migrations-dir",
                           str(self.folder), "--no-dump-schema", *arguments)
        self.assertEqual(code, 0, output)
        return output

    def goose(self, database, *arguments):
        code, output = run(setting("GOOSE"), "-dir", str(self.folder), "postgres", database.url,
                           *arguments)
        self.assertEqual(code, 0, output)
        return output

    # What each says of a database.

    def assert_nothing_is_pending_here(self, database):
        self.ours(database, "status", "--check")
        before = self.catalog(database)
        self.assertEqual(self.ours(database, "up").strip(), "nothing to do")
        self.ours(database, "verify")
        self.assertEqual(self.catalog(database), before)

    def assert_pending_here(self, database, *files):
        status = self.ours(database, "status", "--check", code=PENDING).splitlines()
        self.assertEqual([line.split()[1] for line in status if line.startswith("pending")],
                         list(files))

    def assert_nothing_is_pending_for_dbmate(self, database):
        status = self.dbmate(database, "status", "--exit-code")
        self.assertIn(f"Applied: {len(self.files())}\nPending: 0", status)
        self.assertNotIn("Applying", self.dbmate(database, "up"))

    def assert_nothing_is_pending_for_goose(self, database):
        status = self.goose(database, "status")
        for name in self.files():
            self.assertIn(name, status)
        self.assertNotIn("Pending", status)
        self.assertIn("no migrations to run", self.goose(database, "up"))

    def catalog(self, database):
        """The schema as pg_dump writes it, without the histories, and without the partitions, which are
        named by the day."""
        dump = subprocess.run(
            ["pg_dump", "--schema-only", "--exclude-table=schema_migration*",
             "--exclude-table=goose_db_version*", "--exclude-table=task_history_2*", database.url],
            text=True, capture_output=True, timeout=PATIENCE)
        self.assertEqual(dump.returncode, 0, dump.stderr)
        # Newer ones begin and end with a random word.
        return [line for line in dump.stdout.splitlines()
                if not line.startswith(("\\restrict", "\\unrestrict"))]

    # dbmate.

    def test_what_dbmate_has_applied_is_applied_here(self):
        database = self.new_database()
        self.dbmate(database, "up")
        self.assert_nothing_is_pending_here(database)
        self.ours(database, "repair")
        self.assert_nothing_is_pending_for_dbmate(database)

    def test_what_is_applied_here_is_applied_for_dbmate(self):
        database = self.new_database()
        self.ours(database, "up")
        self.assert_nothing_is_pending_for_dbmate(database)

    def test_what_one_undoes_is_pending_for_the_other(self):
        database = self.new_database()
        self.ours(database, "up")
        complete = self.catalog(database)
        *_, before, last = self.files()
        self.dbmate(database, "rollback")
        self.assert_pending_here(database, last)
        self.ours(database, "down")
        self.assertIn(f"[ ] {before}\n[ ] {last}", self.dbmate(database, "status"))
        self.dbmate(database, "up")
        self.assert_nothing_is_pending_here(database)
        self.assertEqual(self.catalog(database), complete)

    # goose.

    def test_what_goose_has_applied_is_taken_over_by_a_stamp(self):
        database = self.new_database()
        self.goose(database, "up")
        before = self.catalog(database)
        newest = self.files()[-1][:14]
        refused = database.migrate("up", check=False)
        self.assertEqual(refused.returncode, MISMATCH, refused.stdout + refused.stderr)
        self.assertIn(f"`parley-migrate stamp {newest}`", refused.stderr)
        self.assertEqual(self.catalog(database), before)
        self.ours(database, "stamp", newest)
        self.assert_nothing_is_pending_here(database)
        self.ours(database, "down")
        self.assert_pending_here(database, self.files()[-1])
        self.ours(database, "up")

    def test_what_goose_has_undone_is_not_there(self):
        database = self.new_database()
        self.goose(database, "up")
        self.goose(database, "down")
        refused = database.migrate("up", check=False)
        self.assertIn(f"stamp {self.files()[-2][:14]}`", refused.stderr)
        self.goose(database, "reset")
        self.ours(database, "up")

    def test_what_is_applied_here_fails_under_goose_and_stays_as_it_is(self):
        database = self.new_database()
        self.ours(database, "up")
        before = self.catalog(database)
        code, output = run(setting("GOOSE"), "-dir", str(OURS), "postgres", database.url, "up")
        self.assertNotEqual(code, 0)
        self.assertIn(self.files()[0], output)
        self.assertEqual(self.catalog(database), before)
        self.assert_nothing_is_pending_here(database)

    def test_goose_goes_on_once_its_history_is_filled(self):
        database = self.new_database()
        self.ours(database, "up")
        complete = self.catalog(database)
        # Makes its table.
        self.assertIn("version 0", self.goose(database, "version"))
        database.rows(FILL_GOOSE)
        self.assert_nothing_is_pending_for_goose(database)
        self.goose(database, "down")
        self.assertNotEqual(self.catalog(database), complete)
        self.goose(database, "up")
        self.assertEqual(self.catalog(database), complete)

    # All three.

    def made_by_each(self):
        databases = [self.new_database() for _ in range(3)]
        self.ours(databases[0], "up")
        self.dbmate(databases[1], "up")
        self.goose(databases[2], "up")
        return databases

    def test_all_make_the_same_schema(self):
        ours, *others = (self.catalog(database) for database in self.made_by_each())
        self.assertGreater(len(ours), 500)
        for other in others:
            self.assertEqual(other, ours)

    def test_all_read_the_awkward_alike_and_undo_it(self):
        self.awkward_folder()
        empty = self.catalog(self.new_database())
        databases = self.made_by_each()
        ours, *others = (self.catalog(database) for database in databases)
        self.assertIn("CREATE UNIQUE INDEX words_by_word ON public.words USING btree (word);", ours)
        self.assertIn("  RETURN total;", ours)
        for other in others:
            self.assertEqual(other, ours)
        for database in databases:
            self.assertEqual(
                database.rows("SELECT id, word, count_words(3) FROM words ORDER BY id"),
                [(1, "a;", 3), (2, "-- b", 3), (3, "c $$ d", 3)])
        self.assert_nothing_is_pending_here(databases[1])
        self.assert_nothing_is_pending_for_dbmate(databases[0])

        self.ours(databases[0], "down", "--steps", "3")
        for _ in AWKWARD:
            self.dbmate(databases[1], "rollback")
        self.goose(databases[2], "reset")
        for database in databases:
            self.assertEqual(self.catalog(database), empty)

    def test_lint_sees_nothing_that_would_be_read_otherwise(self):
        self.awkward_folder()
        self.ours(self.new_database(), "lint")


if __name__ == "__main__":
    unittest.main()
