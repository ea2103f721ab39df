"""What stops an adoption, and what it says about it; labels, and what is set aside."""

import unittest

from sqlalchemy import null

from adoptions import AdoptionTest, ZONE


class AdoptProblemsTest(AdoptionTest):
    def small(self, **options):
        """One user, one chat, one message."""
        original = self.original(**options)
        self.ann = original.add_user("ann")
        self.chat = original.add_chat(self.ann, [self.ann])
        original.add_message(self.chat, self.ann, "hello")
        return original

    def test_what_is_right_passes_the_check_and_stays_untouched(self):
        original = self.small()
        found = self.check(original)
        self.assertFalse([f for f in found.values() if f["stops"]], found)

    def test_an_unknown_label_stops_it_until_its_meaning_is_given(self):
        original = self.original(chat_types=("PRIVATE", "support", "unused"),
                                 user_statuses=("active", "is=banned"))
        ann = original.add_user("ann", status=original.models.UserStatus["is=banned"])
        chats = [original.add_chat(ann, [ann], chat_type=kind) for kind in ("PRIVATE", "support")]
        self.assert_stopped(original, "unknown-labels")
        given = "--chat-type", "support=channel", "--user-status", "is=banned=BLOCKED"
        self.assert_stopped(original, "unknown-labels", [f"user {ann}"], *given[:2])
        self.assert_stopped(original, "labels-not-there", ["Support"], *given, "--chat-type",
                            "Support=GROUP")
        self.assertIn("'unused'", self.check(original, *given)["unused-labels"]["what"])
        self.adopt(original, *given)
        self.services(original)
        self.assertEqual([self.chats.GetChat(chat_id=chat).chat_type for chat in chats], [1, 3])
        self.assertEqual(self.users.GetUser(user_id=ann).status, 2)

    def test_logins_that_are_one_login_here_stop_it(self):
        original = self.small()
        for login in ("ANN", "\uff21nn", "Stra\u00dfe", "STRASSE", "caf\u00e9", "cafe\u0301"):
            original.add_user(login)
        found = self.check(original, code=4)["colliding-logins"]
        self.assertEqual(found["count"], 4)
        self.assertEqual(found["rows"][0], "user 2 'ANN' and user 1 'ann'")
        self.assert_stopped(original, "colliding-logins")
        for user in range(2, 8):
            original.database.rows("UPDATE users SET login = 'u' || id WHERE id = %s", user)
        self.adopt(original)

    def test_logins_that_break_our_rules_stop_it(self):
        original = self.small()
        for login in ("", "\u200b", "Erased-5", "\ufdfa" * 256):
            original.add_user(login)
        self.assert_stopped(original, "refused-logins")
        self.assertEqual(self.check(original, code=4)["refused-logins"]["count"], 4)

    def test_values_that_break_our_rules_stop_it(self):
        for name, change in (
                ("bad-titles", "UPDATE chats SET title = ''"),
                ("bad-titles", "ALTER TABLE chats ALTER title TYPE text;"
                               "UPDATE chats SET title = repeat('\u00e4', 257)"),
                ("long-descriptions", "ALTER TABLE chats ALTER description TYPE text;"
                                      "UPDATE chats SET description = repeat('d', 513)"),
                ("long-names", "ALTER TABLE users ALTER name TYPE text;"
                               "UPDATE users SET name = repeat('n', 257)"),
                ("long-messages", "ALTER TABLE messages ALTER text TYPE text;"
                                  "UPDATE messages SET text = repeat('\U0001f600', 1025)"),
                ("messages-with-impossible-times", "UPDATE messages SET created = 'infinity'"),
                ("chats-with-impossible-times", "UPDATE chats SET updated = '0044-03-15 BC'"),
                ("users-with-impossible-times", "UPDATE users SET created = '10000-01-01'"),
                ("bad-ids", "UPDATE messages SET id = 0")):
            with self.subTest(name):
                original = self.small()
                original.database.rows(change)
                self.assert_stopped(original, name)

    def test_the_limits_themselves_pass(self):
        original = self.original()
        user = original.add_user("l" * 256, name="\U0001f600" * 256, password="p" * 256)
        chat = original.add_chat(user, [user], title="\U0001f600" * 256, description="\u00e4" * 512)
        original.add_message(chat, user, "\U0001f600" * 1024)
        self.adopt(original)

    def test_messages_without_a_place_stop_it_or_are_set_aside(self):
        original = self.small()
        texts = [original.add_message(chat, user, text) for chat, user, text in (
            (None, self.ann, "no chat"), (self.chat, None, "no user"), (self.chat, self.ann, ""))]
        names = "messages-without-chat", "messages-without-user", "empty-messages"
        for name, message in zip(names, texts):
            self.assert_stopped(original, name)
            row = self.check(original, code=4)[name]["rows"][0]
            self.assertTrue(row.startswith(f"message {message}"), row)
        found = self.check(original, "--set-aside")
        self.assertEqual({found[name]["count"] for name in names}, {1})
        objects = self.adopt(original, "--set-aside")
        self.assertEqual((objects[-1]["event"], objects[-1]["all_rows"]), ("adopted", False))
        self.services(original)
        self.assertEqual([m.text for m in self.history(self.chat)], ["hello"])
        self.assertEqual(original.database.value("SELECT count(*) FROM original.messages"), 4)

    def test_memberships_of_nothing_stop_it_or_are_set_aside(self):
        original = self.small()
        original.database.rows("ALTER TABLE chat_user DROP CONSTRAINT chat_user_user_id_fkey;"
                               "INSERT INTO chat_user (user_id, chat_id) VALUES (99, 1)")
        self.assert_stopped(original, "memberships-of-nothing", ["user 99, chat 1"])
        self.adopt(original, "--set-aside")
        self.assertEqual(original.database.rows("SELECT user_id FROM chat_user"), [(self.ann,)])

    def test_extra_columns_stop_it_or_are_set_aside(self):
        original = self.small()
        original.database.rows("ALTER TABLE users ADD COLUMN phone text DEFAULT '123'")
        self.assert_stopped(original, "extra-columns", ["users.phone"])
        self.adopt(original, "--set-aside")
        self.assertEqual(original.database.value("SELECT phone FROM original.users"), "123")

    def test_another_schema_than_the_models_is_told_apart(self):
        for change, row in (
                ("DROP TABLE messages", "there is no table public.messages"),
                ("ALTER TABLE chats DROP COLUMN description", "there is no column chats.description"),
                ("ALTER TABLE messages ALTER created TYPE timestamptz",
                 "messages.created is timestamp with time zone, not timestamp without time zone"),
                ("ALTER TABLE users ALTER login DROP NOT NULL", "users.login may be NULL"),
                ("ALTER TABLE messages DROP CONSTRAINT messages_pkey", "messages.id may be NULL")):
            with self.subTest(row):
                original = self.small()
                original.database.rows(change)
                if "pkey" in change:
                    row = "messages.id has no unique key"
                self.assert_stopped(original, "unlike-the-original", [row])

    def test_names_of_ours_that_are_taken_stop_it(self):
        original = self.small()
        original.database.rows("CREATE TABLE tasks (id int); CREATE TABLE notes (id int);"
                               "CREATE INDEX chats_by_type ON notes (id)")
        self.assert_stopped(original, "names-taken", ["public.chats_by_type", "public.tasks"])
        original.database.rows("ALTER TABLE tasks RENAME TO jobs; DROP INDEX chats_by_type")
        original.database.rows("CREATE SCHEMA original")
        self.assert_stopped(original, "schema-taken", ["original"])
        original.database.rows("DROP SCHEMA original")
        self.adopt(original)
        self.assertEqual(original.database.value("SELECT count(*) FROM jobs"), 0)

    def test_what_a_renamed_table_keeps_the_name_of_stops_it(self):
        original = self.small()
        original.database.rows("""
            CREATE TABLE tasks (id serial PRIMARY KEY, name text UNIQUE, size int CHECK (size > 0),
                                of_chat int REFERENCES chats);
            CREATE TABLE users_old (id serial PRIMARY KEY, login text UNIQUE)""")
        # What a table has the names of goes with it.
        self.assertNotIn("implied-names-taken", self.check(original, code=4))
        original.database.rows("ALTER TABLE tasks RENAME TO jobs")
        rows = [f"public.tasks_{part} of jobs" for part in (
            "id_seq", "name_key", "of_chat_fkey", "pkey", "size_check")]
        self.assert_stopped(original, "implied-names-taken", rows)
        while rows:
            advice = self.check(original, code=4)["implied-names-taken"]["advice"]
            original.database.rows(advice.replace("another", f"jobs_part_{len(rows)}"))
            rows.pop()
        self.adopt(original)
        self.assertEqual(original.database.rows(
            "SELECT relname::text FROM pg_class WHERE relname ~ '_(pkey|key|seq)[0-9]+$'"), [])

    def test_types_and_functions_with_names_of_ours_stop_it(self):
        original = self.small()
        original.database.rows("""
            CREATE TYPE tasks AS ENUM ('open'); CREATE DOMAIN queues AS text;
            CREATE TYPE schedules AS (id int); CREATE TYPE color AS ENUM ('red');
            CREATE FUNCTION drop_task_history(oldest date) RETURNS boolean LANGUAGE sql
              AS 'SELECT true';
            CREATE FUNCTION paint(color) RETURNS boolean LANGUAGE sql AS 'SELECT true'""")
        for rows, advice in (
                (["function drop_task_history(date)", "public.schedules", "type public.queues",
                  "type public.tasks"], "ALTER FUNCTION drop_task_history(date) RENAME TO another"),
                (["public.schedules", "type public.queues", "type public.tasks"],
                 "ALTER TYPE public.schedules RENAME TO another"),
                (["type public.queues", "type public.tasks"],
                 "ALTER TYPE public.queues RENAME TO another"),
                (["type public.tasks"], "ALTER TYPE public.tasks RENAME TO another2")):
            self.assert_stopped(original, "names-taken", rows)
            self.assertIn(self.check(original, code=4)["names-taken"]["advice"], advice)
            original.database.rows(advice.replace("another", f"another{len(rows)}"))
        self.adopt(original)

    def test_what_the_new_tables_do_not_take_over_is_told(self):
        original = self.small()
        self.assertFalse({"other-owners", "grants"} & set(self.check(original)))
        superuser = original.database.url
        self.as_owner(original)
        role = original.database.name
        original.database.url = superuser
        original.database.rows(f"GRANT SELECT, INSERT ON chats TO PUBLIC; GRANT ALL ON chats TO {role};"
                               "GRANT DELETE ON users TO pg_monitor")
        found = self.check(original)
        self.assertEqual(set(found["other-owners"]["rows"]), {
            f"{table} belongs to {role}, its new form to postgres"
            for table in ("users", "chats", "chat_user", "messages")})
        self.assertEqual(set(found["grants"]["rows"]),
                         {"chats: PUBLIC has INSERT, SELECT", "users: pg_monitor has DELETE"})
        self.adopt(original)

    def test_a_database_of_parleys_is_left_alone(self):
        original = self.original()
        original.database.rows("DROP TABLE chat_user, messages, users, chats; DROP TYPE chattype")
        original.database.migrate("up")
        self.assert_stopped(original, "already-parleys")

    def test_what_is_handled_is_told_with_its_rows(self):
        original = self.small()
        bob = original.add_user("bob", name=None, status=null(), created=null(), password="secret")
        original.add_chat(99, [bob, bob])
        original.database.rows("SELECT nextval('users_id_seq'), nextval('users_id_seq')")
        original.add_user("carl", name="Carl")
        original.database.rows(
            "CREATE TABLE notes (chat_id int REFERENCES chats (id));"
            "CREATE VIEW names AS SELECT name FROM users;"
            "CREATE TABLE invites (kind chattype, id int DEFAULT nextval('users_id_seq'));"
            "CREATE FUNCTION kind_of(chattype) RETURNS int LANGUAGE sql AS 'SELECT 1'")
        original.database.rows(
            "INSERT INTO messages (text, chat_id, user_id, created)"
            " SELECT 'x', 1, 1, '2021-01-01' FROM generate_series(1, 30)")
        found = self.check(original)
        for name, rows in (("duplicate-memberships", ["user 2, chat 2: 2 times"]),
                           ("creators-who-are-no-members", ["chat 2, user 99"]),
                           ("users-without-name", ["user 1", "user 2"]),
                           ("users-without-status", ["user 2"]),
                           ("users-without-times", ["user 2"]),
                           ("gaps-in-ids-of-users", ["ids 3 to 4"]),
                           ("plain-passwords", ["user 2"]),
                           ("messages-of-one-time",
                            ["chat 1, 2021-01-01 00:00:00: 30 messages from id 2"]),
                           ("dependents", ["column invites.kind of type chattype",
                                           "default of invites.id from users_id_seq",
                                           "foreign key notes_chat_id_fkey of notes to chats",
                                           "function kind_of(chattype) with type chattype",
                                           "view names of users"])):
            self.assertEqual(found[name]["rows"], rows)
            self.assertFalse(found[name]["stops"])
        self.assertNotIn("secret", str(found))
        end = self.adopt(original)[-1]
        self.assertEqual((end["all_rows"], end["referred_to"]), (True, True))

    def test_the_first_twenty_rows_are_shown_or_all(self):
        original = self.small()
        original.database.rows("INSERT INTO messages (text, chat_id, user_id)"
                               " SELECT '', 1, 1 FROM generate_series(1, 30)")
        found = self.check(original, code=4)["empty-messages"]
        self.assertEqual((found["count"], len(found["rows"])), (30, 20))
        found = self.check(original, "--all-rows", code=4)["empty-messages"]
        self.assertEqual((found["count"], len(found["rows"])), (30, 30))
        text = original.database.migrate("adopt", "--check", "--time-zone", ZONE, check=False)
        self.assertIn("and 10 more (--all-rows lists all)", text.stdout)
        self.assertIn("nothing was changed", text.stderr)

    def test_flags_that_make_no_sense_are_usage_errors(self):
        original = self.small()
        for arguments, says in (
                ((), "time-zone"),
                (("--time-zone", "Berlin"), "IANA"),
                (("--time-zone", "CET"), "summer time"),
                (("--time-zone", ZONE, "--chat-type", "group"), "--chat-type"),
                (("--time-zone", ZONE, "--chat-type", "group=ROOM"), "PRIVATE, GROUP or CHANNEL"),
                (("--time-zone", ZONE, "--chat-type", "a=GROUP", "--chat-type", "a=PRIVATE"),
                 "two meanings"),
                (("--time-zone", ZONE, "--user-status", "gone=DEAD"), "ACTIVE or BLOCKED"),
                (("--time-zone", ZONE, "--search-language", "klingon"), "klingon"),
                (("--time-zone", ZONE, "--legacy-passwords", "md5"), "legacy-passwords")):
            with self.subTest(arguments):
                done = original.database.migrate("adopt", "--check", *arguments, check=False)
                self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
                self.assertIn(says, done.stderr)

    def test_rows_that_a_policy_hides_stop_it(self):
        original = self.small()
        original.database.rows(
            "ALTER TABLE messages ENABLE ROW LEVEL SECURITY; ALTER TABLE messages FORCE ROW LEVEL"
            " SECURITY; CREATE POLICY few ON messages USING (id > 1)")
        self.check(original)  # as superuser, from whom nothing is hidden
        superuser = original.database.url
        self.as_owner(original)
        owner = original.database.url
        for flag in ("--check", "--i-have-a-backup"):
            objects, _ = self.run_adopt(original, flag, code=4)
            found = self.findings(objects)["row-security"]
            self.assertEqual((found["stops"], found["rows"]), (True, ["messages"]))
        original.database.url = superuser
        original.database.rows("ALTER TABLE messages NO FORCE ROW LEVEL SECURITY")
        original.database.url = owner
        self.adopt(original)
        original.database.url = superuser
        self.assertEqual(original.database.value("SELECT count(*) FROM messages"), 1)

    def test_messages_of_the_future_stop_it_and_those_of_today_are_told(self):
        original = self.small()
        soon, late = (original.add_message(self.chat, self.ann, "x") for _ in range(2))
        ahead = "UPDATE messages SET created = now() AT TIME ZONE %s + %s::interval WHERE id = %s"
        original.database.rows(ahead, ZONE, "23 hours", soon)
        original.database.rows(ahead, ZONE, "25 hours", late)
        self.assert_stopped(original, "messages-of-the-future")
        found = self.check(original, code=4)
        for name, message in (("messages-of-the-future", late), ("messages-ahead-of-now", soon)):
            self.assertEqual(len(found[name]["rows"]), 1)
            self.assertTrue(found[name]["rows"][0].startswith(f"message {message}, chat 1: 20"))
        # A message without times gets its chat's.
        original.database.rows("UPDATE messages SET created = NULL, updated = NULL WHERE id = %s",
                               late)
        self.assertNotIn("messages-of-the-future", self.check(original))
        original.database.rows("UPDATE chats SET created = '2100-01-01'")
        self.assert_stopped(original, "messages-of-the-future",
                            [f"message {late}, chat 1: 2100-01-01 00:00:00"])
        original.database.rows("UPDATE chats SET created = now()")
        self.adopt(original)

    def test_times_that_no_zone_can_read_are_told_with_their_rows(self):
        for time in ("294276-12-31 23:59:59", "infinity", "-infinity", "4714-11-24 00:00:00 BC"):
            for table, row in (("users", "user 1"), ("chats", "chat 1"), ("messages", "message 1")):
                with self.subTest(time, table=table):
                    original = self.small()
                    original.database.rows(f"UPDATE {table} SET created = %s, updated = %s", time,
                                           time)
                    found = self.check(original, code=4)
                    self.assertEqual(found[f"{table}-with-impossible-times"]["rows"],
                                     [f"{row}: {time}, {time}"])
        self.assert_stopped(original, "messages-with-impossible-times")

    def test_the_greatest_ids_pass(self):
        original = self.small()
        original.database.rows("INSERT INTO messages (id, text, chat_id, user_id)"
                               " VALUES (2147483645, 'x', 1, 1), (2147483647, 'y', 1, 1)")
        self.assertEqual(self.check(original)["gaps-in-ids-of-messages"]["rows"],
                         ["ids 2 to 2147483644", "id 2147483646"])
        self.adopt(original)
        self.services(original)
        self.assertEqual(self.messages.SendMessage(chat_id=1, user_id=1, text="z").id, 2147483648)

    def test_the_next_id_is_that_of_the_old_sequence(self):
        original = self.small()
        original.database.rows(
            "ALTER SEQUENCE users_id_seq RESTART WITH 1000; SELECT setval('chats_id_seq', 2000);"
            "ALTER SEQUENCE messages_id_seq RESTART WITH 1")  # behind what is there
        self.adopt(original)
        self.services(original)
        user = self.users.CreateUser(login="next").id
        chat = self.chats.CreateChat(title="next", chat_type=2, creator_user_id=user).id
        message = self.messages.SendMessage(chat_id=chat, user_id=user, text="next").id
        self.assertEqual((user, chat, message), (1000, 2001, 2))

    def test_tables_that_inherit_from_the_originals_stop_it(self):
        original = self.small()
        original.database.rows("CREATE TABLE old_messages () INHERITS (messages)")
        self.assert_stopped(original, "unlike-the-original", ["old_messages inherits from messages"])

    def test_one_enum_can_be_both(self):
        original = self.original()
        original.database.rows("""
            CREATE TYPE label AS ENUM ('group', 'active');
            ALTER TABLE chats ALTER chat_type TYPE label USING chat_type::text::label;
            ALTER TABLE users ALTER status TYPE label USING status::text::label;
            INSERT INTO users (login, status) VALUES ('ann', 'active');
            INSERT INTO chats (title, chat_type, creator_user_id) VALUES ('a', 'group', 1)""")
        self.adopt(original)
        self.assertEqual(original.database.rows("SELECT chat_type, status FROM chats, users"),
                         [("group", "active")])

    def test_passwords_that_look_like_hashes_are_no_plain_text(self):
        original = self.small()
        hashes = ("$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9", "$argon2id$v=19$m=65536$x", "$6$salt$x",
                  "$pbkdf2-sha256$29000$x", "pbkdf2_sha256$260000$x", "pbkdf2:sha256:260000$x",
                  "scrypt:32768:8:1$x", "{SSHA}x", "5f4dcc3b5aa765d61d8327deb882cf99", "0a" * 20,
                  "0A" * 32)
        plain = ("$20 bill", "$2", "argon2", "5f4dcc3b", "0a" * 21, "pbkdf2", "scrypt", "x{SSHA}", "")
        users = [original.add_user(f"user {i}", password=password)
                 for i, password in enumerate(hashes + plain)]
        self.assert_stopped(original, "hashed-passwords",
                            [f"user {user}" for user in users[:len(hashes)]], "--legacy-passwords",
                            "plaintext")
        self.assertNotIn("hashed-passwords", self.check(original))
        self.adopt(original)

    def test_a_role_whose_tables_would_go_elsewhere_is_refused(self):
        original = self.small()
        original.database.rows(
            f"CREATE SCHEMA app; ALTER DATABASE {original.database.name} SET search_path = app, public")
        before = self.state(original)
        for flag in ("--check", "--i-have-a-backup"):
            _, error = self.run_adopt(original, flag, code=1)
            self.assertIn("search_path", error)
        self.assertEqual(self.state(original), before)

    def test_a_database_that_is_not_utf8_is_refused(self):
        original = self.original()
        original.close()
        original.database.drop()
        original.database.administer(f"CREATE DATABASE {original.database.name} TEMPLATE template0"
                                     " ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'")
        original.models.Base.metadata.create_all(original.engine)
        _, error = self.run_adopt(original, "--check", code=1)
        self.assertIn("SQL_ASCII", error)


if __name__ == "__main__":
    unittest.main()
