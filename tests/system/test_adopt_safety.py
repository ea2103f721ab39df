"""An adoption is done or not done: backups, kills, locks, comparisons; and passwords afterwards."""

import contextlib
import json
import pathlib
import shutil
import subprocess
import tempfile
import threading
import unittest
import urllib.parse

import harness
import programs
from adoptions import AdoptionTest, ZONE


class AdoptSafetyTest(AdoptionTest):
    def filled(self, messages=200, **options):
        original = self.original(**options)
        ann = original.add_user("ann", password="correct horse")
        bob = original.add_user("bob", password="battery staple")
        chat = original.add_chat(ann, [ann, bob])
        original.database.rows(
            "INSERT INTO messages (text, chat_id, user_id, created)"
            " SELECT 'number ' || i, %s, %s, '2021-01-01'::timestamp + i * interval '1 s'"
            " FROM generate_series(1, %s) AS i", chat, ann, messages)
        return original

    def dump(self, original, *arguments):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = pathlib.Path(folder.name, "backup")
        subprocess.run([shutil.which("pg_dump"), *arguments, f"--file={path}",
                        original.database.url], check=True)
        return path

    def run_with_backup(self, original, path):
        return original.database.migrate("adopt", "--time-zone", ZONE, "--backup", str(path),
                                         check=False)

    def test_without_a_backup_it_does_nothing(self):
        original = self.filled()
        before = self.state(original)
        done = original.database.migrate("adopt", "--time-zone", ZONE, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("--backup FILE", done.stderr)
        self.assertEqual(self.state(original), before)

    def test_backups_that_are_none_are_refused(self):
        original = self.filled()
        before = self.state(original)
        whole = self.dump(original)
        cut = whole.with_name("cut")
        cut.write_bytes(whole.read_bytes()[:-200])
        archive = self.dump(original, "--format=custom")
        cut_archive = archive.with_name("cut")
        cut_archive.write_bytes(archive.read_bytes()[:-500])
        other = whole.with_name("other")
        other.write_text("SELECT 1;\n", encoding="utf-8")
        for path, says in ((whole.with_name("none"), "cannot be read"), (other, "pg_restore"),
                           (cut, "cut off"), (cut_archive, "pg_restore cannot read"),
                           (self.dump(original, "--schema-only"), "no rows of public.chat_user"),
                           (self.dump(original, "--exclude-table=messages"),
                            "no rows of public.messages;"),
                           (self.dump(original, "--format=custom", "--exclude-table-data=users"),
                            "no rows of public.users;")):
            with self.subTest(says):
                done = self.run_with_backup(original, path)
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertIn(says, done.stderr)
        self.assertEqual(self.state(original), before)

    def test_backups_of_every_kind_are_taken_and_bring_everything_back(self):
        for arguments in ((), ("--inserts",), ("--format=custom",), ("--format=directory",),
                          ("--format=tar",)):
            with self.subTest(arguments):
                original = self.filled(messages=20)
                _, before = self.state(original)
                path = self.dump(original, *arguments)
                done = self.run_with_backup(original, path)
                self.assertEqual(done.returncode, 0, done.stderr)
                if arguments == ("--format=custom",):
                    again = self.original()
                    again.database.rows("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
                    subprocess.run([shutil.which("pg_restore"), "--dbname", again.database.url,
                                    "--exit-on-error", "--clean", "--if-exists", str(path)],
                                   check=True)
                    self.assertEqual(self.state(again)[1], before)

    def start_adopt(self, original, *arguments):
        return subprocess.Popen(
            [programs.binary("migrate"), "adopt", "--json", "--time-zone", ZONE,
             "--i-have-a-backup", *arguments], env=programs.environment(original.database.url),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def steps(self):
        original = self.filled(messages=10)
        return [o["step"] for o in self.adopt(original) if o["event"] == "step"]

    def test_a_kill_after_any_step_leaves_the_original_as_it_was(self):
        steps = self.steps()
        self.assertGreater(len(steps), 15)
        original = self.filled(messages=3000)
        before = self.state(original)
        for step in steps:
            with self.subTest(step):
                process = self.start_adopt(original)
                for line in process.stdout:
                    if json.loads(line).get("step") == step:
                        break
                process.kill()
                code = process.wait()
                process.communicate()
                # Nobody else gets at the tables while the server has not noticed.
                after = self.state(original)
                if step == steps[-1] and code == 0 or after != before:
                    # It was quicker than the kill, and then it is done altogether.
                    self.assertEqual(step, steps[-1])
                    self.assertIn(("original.messages", "r"), after[0])
                    return
        self.adopt(original)

    def test_a_lock_of_somebody_else_is_waited_for_and_named(self):
        original = self.filled()
        before = self.state(original)
        with original.session() as db:
            db.query(original.models.Message).first()  # idle in transaction
            done = original.database.migrate("adopt", "--time-zone", ZONE, "--i-have-a-backup",
                                             "--lock-timeout", "200ms", "--lock-retry", "1s",
                                             check=False)
        self.assertEqual(done.returncode, 5, done.stderr)
        self.assertRegex(done.stderr, r"pid \d+ \(original, postgres, idle in transaction\)"
                                      r" has a lock on messages")
        self.assertIn("waiting: pid", done.stdout)
        self.assertEqual(self.state(original), before)

    def test_it_goes_on_when_somebody_else_lets_go_of_a_lock(self):
        original = self.filled()
        with original.session() as db:
            db.query(original.models.Message).first()
            process = self.start_adopt(original, "--lock-timeout", "100ms")
            for line in process.stdout:
                if json.loads(line)["step"].startswith("waiting: "):
                    break
        out, err = process.communicate()
        self.assertEqual(process.returncode, 0, err)
        self.assertIn('"adopted"', out)

    def test_rights_that_are_missing_are_told_by_the_check(self):
        original = self.filled()
        role = original.database.name
        original.database.rows(
            f"CREATE ROLE {role} LOGIN PASSWORD 'x'; GRANT pg_read_all_data TO {role};"
            f"ALTER TABLE messages OWNER TO {role}; ALTER TYPE userstatus OWNER TO {role}")
        self.addCleanup(original.database.administer, f"DROP ROLE {role}")
        self.addCleanup(original.database.drop)
        url = original.database.url
        parts = urllib.parse.urlsplit(url)
        original.database.url = parts._replace(
            netloc=f"{role}:x@{parts.hostname}:{parts.port}").geturl()
        found = self.check(original, code=4)["missing-rights"]
        self.assertEqual(set(found["rows"]), {
            "to own table users", "to own table chats", "to own table chat_user", "to own type chattype",
            "to create schemas in the database", "to create tables in schema public"})
        original.database.url = url

    def test_rights_to_what_is_beside_the_tables_are_told_by_the_check(self):
        original = self.filled(with_alembic=True)
        role = original.database.name
        original.database.rows(f"""
            CREATE SEQUENCE loose; ALTER TABLE messages ALTER id SET DEFAULT nextval('loose');
            CREATE SCHEMA app; CREATE SEQUENCE app.far;
            ALTER TABLE chats ALTER id SET DEFAULT nextval('app.far');
            REVOKE TEMPORARY ON DATABASE {role} FROM PUBLIC""")
        superuser = original.database.url
        self.as_owner(original)
        owner, original.database.url = original.database.url, superuser
        original.database.rows(f"REVOKE TEMPORARY ON DATABASE {role} FROM {role}")
        original.database.url = owner
        objects, _ = self.run_adopt(original, "--check", code=4)
        self.assertEqual(set(self.findings(objects)["missing-rights"]["rows"]), {
            "to own table alembic_version", "to own sequence loose", "to read sequence app.far",
            "to create temporary tables in the database"})
        original.database.url = superuser
        original.database.rows(f"""
            ALTER TABLE alembic_version OWNER TO {role}; ALTER SEQUENCE loose OWNER TO {role};
            GRANT USAGE ON SCHEMA app TO {role}; GRANT SELECT ON SEQUENCE app.far TO {role};
            GRANT TEMPORARY ON DATABASE {role} TO {role}""")
        original.database.url = owner
        self.adopt(original)

    def test_it_needs_no_more_than_to_own_the_database(self):
        original = self.original()
        for right in (f"CREATE ON DATABASE {original.database.name}", "CREATE ON SCHEMA public"):
            original.database.rows(f"REVOKE {right} FROM PUBLIC")
        self.as_owner(original)
        self.adopt(original)
        self.services(original)
        self.assertGreater(self.users.CreateUser(login="first").id, 0)

    def test_a_migration_outside_a_transaction_runs_inside_this_one(self):
        original = self.filled()
        with tempfile.TemporaryDirectory() as folder:
            for path in (harness.ROOT / "db" / "migrations").glob("*.sql"):
                shutil.copy(path, folder)
            pathlib.Path(folder, "20991231000000_more.sql").write_text(
                "-- migrate:up transaction:false\n"
                "CREATE INDEX CONCURRENTLY more ON messages (text) WHERE text <> 'CONCURRENTLY';\n"
                "-- migrate:down transaction:false\nDROP INDEX CONCURRENTLY more;\n",
                encoding="utf-8")
            self.adopt(original, "--dir", folder)
        self.assertIn("'CONCURRENTLY'", original.database.value(
            "SELECT pg_get_indexdef('more'::regclass)"))
        self.assertEqual(original.database.value("SELECT max(version) FROM schema_migrations"),
                         "20991231000000")

    def test_of_two_at_once_one_adopts(self):
        original = self.filled()
        processes = [self.start_adopt(original) for _ in range(2)]
        outcomes = [process.communicate() for process in processes]
        self.assertEqual(sorted(process.returncode for process in processes), [0, 4], outcomes)
        self.assertEqual(original.database.value("SELECT count(*) FROM messages"), 200)

    def test_a_copy_that_is_not_equal_is_rolled_back(self):
        original = self.filled()
        # Somebody's trigger that gets into our tables, as they are made.
        original.database.rows("""
            CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS
              $$ BEGIN IF new.seq = 100 THEN new.text := 'spoilt'; END IF; RETURN new; END $$;
            CREATE FUNCTION spoil_new_tables() RETURNS event_trigger LANGUAGE plpgsql AS $$
            BEGIN
              IF EXISTS (SELECT FROM pg_event_trigger_ddl_commands()
                         WHERE object_identity = 'public.messages' AND command_tag = 'CREATE TABLE') THEN
                CREATE TRIGGER spoil BEFORE INSERT ON public.messages
                  FOR EACH ROW EXECUTE FUNCTION spoil();
              END IF;
            END $$;
            CREATE EVENT TRIGGER spoiler ON ddl_command_end EXECUTE FUNCTION spoil_new_tables()""")
        before = self.state(original)
        done = original.database.migrate("adopt", "--time-zone", ZONE, "--i-have-a-backup",
                                         check=False)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"messages of chat 1: 200 rows, checksum -?\d+, became 200 rows")
        self.assertEqual(self.state(original), before)

    def test_a_migration_that_fails_leaves_the_original_as_it_was(self):
        original = self.filled()
        before = self.state(original)
        with tempfile.TemporaryDirectory() as folder:
            for path in (harness.ROOT / "db" / "migrations").glob("*.sql"):
                shutil.copy(path, folder)
            pathlib.Path(folder, "20991231000000_more.sql").write_text(
                "-- migrate:up\nSELECT 1 / 0;\n-- migrate:down\n", encoding="utf-8")
            done = original.database.migrate("adopt", "--time-zone", ZONE, "--i-have-a-backup",
                                             "--dir", folder, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("20991231000000_more.sql: division by zero", done.stderr)
        self.assertEqual(self.state(original), before)

    def test_a_report_that_cannot_be_written_stops_it_before_anything(self):
        original = self.filled()
        before = self.state(original)
        done = original.database.migrate("adopt", "--time-zone", ZONE, "--i-have-a-backup",
                                         "--report", "/nonexistent/report", check=False)
        self.assertEqual(done.returncode, 2, done.stderr)
        self.assertEqual(self.state(original), before)

    def test_the_report_has_counts_and_checksums_before_and_after(self):
        original = self.filled()
        with tempfile.TemporaryDirectory() as folder:
            before, after = pathlib.Path(folder, "before"), pathlib.Path(folder, "after")
            self.check(original, "--report", str(before))
            self.adopt(original, "--report", str(after))
            planned, done = ([json.loads(line) for line in path.read_text().splitlines()]
                             for path in (before, after))
        self.assertEqual([(o["table"], o["rows"]) for o in done if o["event"] == "found"],
                         [("users", 2), ("chats", 1), ("chat_user", 2), ("messages", 200)])
        rows = {o["table"]: o for o in done if o["event"] == "rows"}
        self.assertEqual(rows["messages"]["chat_id"], "1")
        self.assertEqual(rows["messages"]["after"]["rows"], 200)
        for part in rows.values():
            self.assertEqual(part["before"], part["after"])
        self.assertEqual([o["before"] for o in planned if o["event"] == "rows"],
                         [o["before"] for o in done if o["event"] == "rows"])

    def test_legacy_passwords_are_rejected_unless_they_are_taken_as_plain_text(self):
        original = self.filled()
        self.adopt(original)
        self.services(original)
        with self.assert_error("UNAUTHENTICATED", "WRONG_CREDENTIALS"):
            self.users.VerifyPassword(login="ann", password="correct horse")
        self.assertEqual(original.database.rows(
            "SELECT user_id, password, accepted FROM legacy_passwords ORDER BY 1"),
            [(1, "correct horse", False), (2, "battery staple", False)])

    def test_a_legacy_password_becomes_a_hash_when_it_was_right(self):
        original = self.filled()
        self.adopt(original, "--legacy-passwords", "plaintext")
        self.services(original)
        before = self.users.GetUser(login="ann")
        with self.assert_error("UNAUTHENTICATED", "WRONG_CREDENTIALS"):
            self.users.VerifyPassword(login="ann", password="battery staple")
        # Several at once: all are right, one hash stays.
        barrier = threading.Barrier(4)
        answers = []

        def verify():
            barrier.wait()
            answers.append(self.users.VerifyPassword(login="ann", password="correct horse"))

        threads = [threading.Thread(target=verify) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(answers, [before] * 4)
        self.assertEqual(original.database.rows("SELECT user_id FROM legacy_passwords"), [(2,)])
        self.assertTrue(original.database.value(
            "SELECT password_hash FROM users WHERE id = 1").startswith("$argon2id$"))
        self.users.VerifyPassword(login="ann", password="correct horse")
        self.users.SetPassword(user_id=2, password="new")
        self.assertEqual(original.database.rows("SELECT user_id FROM legacy_passwords"), [])
        with self.assert_error("UNAUTHENTICATED", "WRONG_CREDENTIALS"):
            self.users.VerifyPassword(login="bob", password="battery staple")


class AdoptMuchTest(AdoptionTest):
    def test_a_million_messages_keep_their_order(self):
        rows = 50_000 if programs.IS_SANITIZED else 1_000_000
        original = self.original()
        original.database.script(f"""
            INSERT INTO users (login) SELECT 'User ' || i FROM generate_series(1, 1000) AS i;
            INSERT INTO chats (title, chat_type, creator_user_id)
              SELECT 'Chat ' || i, 'group', i FROM generate_series(1, 1000) AS i;
            INSERT INTO chat_user (user_id, chat_id)
              SELECT i, 1 + (i + j) % 1000 FROM generate_series(1, 1000) AS i,
                generate_series(1, 10) AS j;
            INSERT INTO messages (text, created, updated, user_id, chat_id)
              SELECT 'message ' || i || ' of many words', t, t, 1 + i % 1000, 1 + i / 7 % 1000
              FROM (SELECT i, '2020-01-01'::timestamp + i * 7919::bigint % {rows} * interval '30 s' AS t
                    FROM generate_series(1, {rows}) AS i) AS timed""")
        page = original.get_last_messages(500, offset=20)
        with contextlib.closing(self.start_slowly(original)) as lines:
            objects = [json.loads(line) for line in lines]
        self.assertEqual(objects[-1]["event"], "adopted")
        self.assertEqual(original.database.value("""
            SELECT count(*) FROM (
              SELECT id, chat_id, row_number() OVER (PARTITION BY chat_id ORDER BY created, id) AS seq,
                     text, user_id, created AT TIME ZONE 'Europe/Berlin' AS at
              FROM original.messages) AS old
            JOIN messages AS new USING (chat_id, seq)
            WHERE (old.id, old.text, old.user_id) = (new.id, new.text, new.user_id)
              AND new.created_at >= old.at"""), rows)
        self.services(original)
        reply = self.messages.ListMessages(chat_id=500, offset=20, limit=20)
        self.assertEqual([m.id for m in reply.messages], [m.id for m in page])

    def start_slowly(self, original):
        """The lines of an adoption that may take longer than others are given."""
        process = subprocess.Popen(
            [programs.binary("migrate"), "adopt", "--json", "--time-zone", ZONE,
             "--i-have-a-backup"], env=programs.environment(original.database.url),
            stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process.stdout


if __name__ == "__main__":
    unittest.main()
