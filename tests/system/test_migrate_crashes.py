"""parley-migrate is killed with -9 at every statement it sends, and run again."""

import itertools
import pathlib
import subprocess
import tempfile
import unittest

import harness
from database import Database
from programs import IS_SANITIZED, binary, environment
from proxy import Proxy

# Nothing in them can be done twice: what is done half and then again shows.
FILES = {
    "20260101000000_tables.sql": """-- migrate:up
CREATE TABLE t (n int);
INSERT INTO t VALUES (1);
INSERT INTO t VALUES (2);
-- migrate:down
DROP TABLE t;
""",
    "20260102000000_index.sql": """-- migrate:up transaction:false
CREATE UNIQUE INDEX CONCURRENTLY t_n ON t (n);
-- migrate:down transaction:false
DROP INDEX CONCURRENTLY t_n;
""",
    "20260103000000_column.sql": """-- migrate:up
ALTER TABLE t ADD m int;
UPDATE t SET m = n + coalesce(m, 0);
-- migrate:down
ALTER TABLE t DROP m;
""",
}
VERSIONS = [name[:14] for name in FILES]
STEP = 5 if IS_SANITIZED else 1  # from one fatal query to the next


class Gate(Proxy):
    """Kills a process when it sends its `fatal`-th query, before or after the server gets that."""

    def __init__(self, url, fatal, arrives):
        super().__init__(url)
        self._fatal, self._arrives = fatal, arrives
        self._queries = 0
        self.process = None
        self.has_killed = False

    def _forward(self, source, target, data):
        # A query of libpq's begins a packet; these are small.
        if data[:1] == b"Q":
            self._queries += 1
            if self._queries > self._fatal:
                self._kill(target, data)
                return
        super()._forward(source, target, data)

    def _kill(self, target, data):
        if self._queries == self._fatal + 1:
            self.process.kill()
            self.has_killed = True
            if self._arrives:
                target.sendall(data)
        self._end(target)


class MigrateCrashes(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        for name, text in FILES.items():
            (pathlib.Path(self.folder) / name).write_text(text, encoding="utf-8")

    def begin(self, database, *arguments, url=None):
        """Starts parley-migrate."""
        return subprocess.Popen([binary("migrate"), *arguments, "--dir", self.folder],
                                env=environment(url or database.url), stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True)

    def finish(self, database, *arguments):
        """Runs it, with nobody who kills it; returns what it printed."""
        process = self.begin(database, *arguments, "--lock-wait", "30s")
        said, _ = process.communicate(timeout=harness.PATIENCE)
        self.assertEqual(process.returncode, 0, said)
        return said

    def run_killed(self, database, command, fatal, arrives):
        """Whether it was killed, or had ended before."""
        gate = Gate(database.url, fatal, arrives)
        self.addCleanup(gate.cut)
        # The proxy has it before it sends anything.
        process = self.begin(database, *command.split(), url=gate.url)
        gate.process = process
        process.communicate(timeout=harness.PATIENCE)
        gate.cut()
        return gate.has_killed

    def check_is_up(self, database):
        self.assertEqual([row[0] for row in database.rows(
            "SELECT version FROM schema_migrations ORDER BY version")], VERSIONS)
        self.assertEqual(database.rows("SELECT n, m FROM t ORDER BY n"), [(1, 1), (2, 2)])
        self.assertEqual(database.rows("SELECT indisvalid FROM pg_index i"
                                       " WHERE indrelid = 't'::regclass"), [(True,)])
        self.check_nothing_runs(database)

    def check_nothing_runs(self, database):
        self.assertEqual(database.value(
            "SELECT count(*) FROM schema_migration_log WHERE outcome = 'running'"), 0)

    def fresh(self):
        database = Database("crash", migrate=False)
        self.addCleanup(database.drop)
        return database

    def test_up_is_finished_wherever_it_was_killed(self):
        for arrives in (False, True):
            for fatal in itertools.count(step=STEP):
                with self.subTest(fatal=fatal, arrives=arrives):
                    database = self.fresh()
                    was_killed = self.run_killed(database, "up", fatal, arrives)
                    self.finish(database, "up")
                    self.check_is_up(database)
                    database.drop()
                if not was_killed:
                    break
            # Three files, with the history, the lock and the journal.
            self.assertGreater(fatal, 20)

    def test_the_way_down_is_finished_too(self):
        for fatal in itertools.count(step=STEP):
            with self.subTest(fatal=fatal):
                database = self.fresh()
                self.finish(database, "up")
                was_killed = self.run_killed(database, "redo --steps 2", fatal, arrives=True)
                # What was half undone is to be undone before anything else.
                if database.migrate("up", "--dir", self.folder, check=False).returncode == 6:
                    self.finish(database, "down")
                self.finish(database, "up")
                self.check_is_up(database)
                self.finish(database, "down", "--steps", "2")
                self.assertEqual(database.rows("SELECT n FROM t ORDER BY n"), [(1,), (2,)])
                self.check_nothing_runs(database)
                database.drop()
            if not was_killed:
                break
        self.assertGreater(fatal, 20)

    def test_an_index_whose_building_was_killed_is_built_again(self):
        database = self.fresh()
        self.finish(database, "up", "--steps", "1")
        with database.connect() as other:
            # The build waits for this transaction.
            other.cursor().execute("INSERT INTO t VALUES (3)")
            killed = self.begin(database, "up")
            harness.poll("the build to wait", lambda: database.rows(
                "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
                " AND query LIKE '%%CONCURRENTLY%%'", database.name))
            killed.kill()
            killed.communicate()
            harness.poll("the server to notice", lambda: not database.rows(
                "SELECT 1 FROM pg_stat_activity WHERE datname = %s"
                " AND application_name = 'parley-migrate'", database.name))
            other.rollback()
        self.assertEqual(database.rows(
            "SELECT indisvalid FROM pg_index WHERE indexrelid = 't_n'::regclass"), [(False,)])
        status = database.migrate("status", "--check", "--dir", self.folder, check=False)
        self.assertEqual(status.returncode, 6, status.stdout + status.stderr)
        self.assertIn("dropping t_n, which is INVALID", self.finish(database, "up"))
        self.check_is_up(database)


if __name__ == "__main__":
    unittest.main()
