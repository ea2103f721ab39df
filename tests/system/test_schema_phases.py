"""Services beside a schema that is one step ahead of them, and while it gets there."""

import pathlib
import shutil
import subprocess
import tempfile
import unittest

import harness
from programs import PATIENCE, binary, environment

SERVICES = ("chatd", "messaged", "schedulerd")

# What a release after this one might bring. The index is built without a transaction, and waits for whoever
# reads an older state.
EXPAND = {
    "29990101000000_note.sql": """-- parley:phase expand
-- migrate:up
-- +goose Up
ALTER TABLE users ADD COLUMN note text;
ALTER TABLE chats ADD COLUMN note text NOT NULL DEFAULT '';
ALTER TABLE messages ADD COLUMN note text;
ALTER TABLE tasks ADD COLUMN note text NOT NULL DEFAULT '';
ALTER TABLE task_history ADD COLUMN note text;
CREATE TABLE notes (id bigint PRIMARY KEY);
-- migrate:down
-- +goose Down
DROP TABLE notes;
""",
    "29990102000000_users_by_note.sql": """-- parley:phase expand
-- +goose NO TRANSACTION
-- migrate:up transaction:false
-- +goose Up
CREATE INDEX CONCURRENTLY users_by_note ON users (note, id);
-- migrate:down transaction:false
-- +goose Down
DROP INDEX CONCURRENTLY users_by_note;
""",
}
NOTHING = """-- migrate:up
-- +goose Up
SELECT 1;
-- migrate:down
-- +goose Down
SELECT 1;
"""


class SchemaPhasesTest(harness.SystemTest, harness.People):
    runs = SERVICES

    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="parley-phases-")
        self.addCleanup(directory.cleanup)
        self.folder = pathlib.Path(directory.name)
        ours = harness.ROOT / "db" / "migrations"
        for file in [*ours.glob("*.sql"), ours / "LINT_BASELINE"]:
            shutil.copy(file, self.folder)

    def write(self, files):
        for name, text in files.items():
            (self.folder / name).write_text(text, encoding="utf-8")

    def migrate(self, *arguments, code=0):
        done = self.database.migrate(*arguments, "--dir", str(self.folder), check=False)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done

    def use_everything(self):
        """Calls that write and read, on all the services' connections."""
        def scene(index):
            ann, bob = self.new_user(), self.new_user()
            chat = self.new_chat(ann, [bob])
            sent = [self.messages.SendMessage(chat_id=chat.id, user_id=ann.id, text=f"{index} {n}")
                    for n in range(3)]
            found = self.messages.ListMessages(chat_id=chat.id, limit=10).messages
            self.assertEqual(sorted(m.id for m in found), [m.id for m in sent])
            queue = f"phases-{chat.id}"
            task = self.tasks.CreateTask(queue=queue, name="n")
            lease, = self.workers.LeaseTasks(queues=[queue]).leases
            self.assertEqual(lease.task.id, task.id)
            self.workers.AckTask(task_id=task.id, lease_token=lease.lease_token)
            self.assertEqual(self.users.GetUser(user_id=ann.id), ann)
        harness.in_threads(8, scene)

    def test_calls_go_on_while_another_process_expands_the_schema_and_after_a_restart(self):
        self.use_everything()
        self.write(EXPAND)
        self.migrate("lint")
        with self.database.connect() as reader, reader.cursor() as cursor:
            # The index has to wait for this one, so that the calls find it half done.
            cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM requests")
            migrator = subprocess.Popen(
                [binary("migrate"), "up", "--dir", str(self.folder)], text=True,
                env=environment(self.database.url), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            self.addCleanup(migrator.kill)
            harness.poll("the index to be half done", lambda: self.database.value(
                "SELECT count(*) FROM pg_index WHERE NOT indisvalid"))
            self.use_everything()
            self.assertIsNone(migrator.poll())
            reader.rollback()
        said, _ = migrator.communicate(timeout=PATIENCE)
        self.assertEqual(migrator.returncode, 0, said)
        self.use_everything()
        self.migrate("verify")

        # Nobody of them knows the new files, and they start all the same.
        for name in SERVICES:
            service = self.start(name)
            for client in harness.CLIENTS[name]:
                setattr(self, client, getattr(service, client))
        self.use_everything()
        # What they cannot know they cannot verify either.
        self.assertEqual(self.database.migrate("verify", check=False).returncode, 4)

    def test_what_is_not_expand_keeps_them_from_starting(self):
        database = harness.Database("contracted")
        self.addCleanup(database.drop)
        for version, phase in (("29990101000000", "contract"), ("29990102000000", "")):
            name = f"{version}_later.sql"
            self.write({name: (f"-- parley:phase {phase}\n" if phase else "") + NOTHING})
            done = database.migrate("up", "--dir", str(self.folder))
            self.assertIn("applied " + name, done.stdout)
            for service in SERVICES:
                refused = harness.run_binary(service, "--listen", "127.0.0.1:0",
                                             url=database.url, check=False)
                self.assertEqual(refused.returncode, 1)
                self.assertIn(f"does not know {version}", refused.stderr)
            database.rows("DELETE FROM schema_migrations WHERE version = %s", version)
            (self.folder / name).unlink()


if __name__ == "__main__":
    unittest.main()
