"""What the tests of `parley-migrate adopt` have in common."""

import datetime
import json
import urllib.parse
import zoneinfo

import harness
from database import Database
from original import Original

ZONE = "Europe/Berlin"
# All of the schema and the rows that an adoption that does not come about must leave alone.
STATE = """
    SELECT coalesce(n.nspname || '.' || c.relname, ''), c.relkind::text FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname NOT LIKE 'pg\\_%%' AND n.nspname <> 'information_schema' ORDER BY 1, 2"""


def instant(local, zone=ZONE):
    """What PostgreSQL makes of a time without zone: of one that occurs twice the second, of one that
    does not occur what clocks would show had they not been put forward. Both are the later instant."""
    if local is None:
        return None
    return max(local.replace(tzinfo=zoneinfo.ZoneInfo(zone), fold=fold).astimezone(
        datetime.timezone.utc) for fold in (0, 1))


def at(timestamp):
    """A protobuf Timestamp, to the microsecond."""
    return timestamp.ToDatetime(tzinfo=datetime.timezone.utc)


class AdoptionTest(harness.SystemTest):
    """Each test has an original application on a database of its own."""

    migrated = False
    counts = False

    @classmethod
    def setUpClass(cls):
        pass

    def original(self, **options):
        database = Database("adopt", migrate=False)
        self.addCleanup(database.drop)
        original = Original(database, **options)
        self.addCleanup(original.close)
        return original

    def as_owner(self, original):
        """Gives the database and all in it to a role of its name that can do no more than that, and
        runs the command as this role from now on. Whatever `rows` does, it does as superuser."""
        role = original.database.name
        original.database.rows(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
        self.addCleanup(original.database.administer, f"DROP ROLE {role}")
        self.addCleanup(original.database.drop)
        original.database.rows(
            f"ALTER DATABASE {role} OWNER TO {role};"
            + "".join(f"ALTER TABLE {table} OWNER TO {role};" for table in
                      ("users", "chats", "chat_user", "messages"))
            + f"ALTER TYPE chattype OWNER TO {role}; ALTER TYPE userstatus OWNER TO {role}")
        parts = urllib.parse.urlsplit(original.database.url)
        original.database.url = parts._replace(
            netloc=f"{role}:x@{parts.hostname}:{parts.port}").geturl()

    def run_adopt(self, original, *arguments, code=0):
        """Runs the command with --json; returns its objects and what it says on standard error."""
        done = original.database.migrate("adopt", "--json", "--time-zone", ZONE, *arguments,
                                         check=False)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()], done.stderr

    def check(self, original, *arguments, code=0):
        """Runs --check, which must leave no trace; returns its findings by name."""
        before = self.state(original)
        objects, _ = self.run_adopt(original, "--check", *arguments, code=code)
        self.assertEqual(self.state(original), before)
        return self.findings(objects)

    def adopt(self, original, *arguments, code=0):
        objects, _ = self.run_adopt(original, "--i-have-a-backup", *arguments, code=code)
        return objects

    @staticmethod
    def findings(objects):
        return {found["name"]: found for found in objects if found["event"] == "finding"}

    def assert_stopped(self, original, name, rows=None, *arguments):
        """Both ways of running it end with 4 and name the problem; nothing changes."""
        found = self.check(original, *arguments, code=4)
        self.assertIn(name, found)
        self.assertTrue(found[name]["stops"], found[name])
        self.assertTrue(found[name]["advice"], found[name])
        if rows is not None:
            self.assertEqual(found[name]["rows"], rows)
        before = self.state(original)
        self.assertIn(name, self.findings(self.adopt(original, *arguments, code=4)))
        self.assertEqual(self.state(original), before)

    def state(self, original):
        """The relations there are, and the rows of the original's tables."""
        tables = [row[0] for row in original.database.rows(STATE) if row[1] == "r"]
        rows = {table: original.database.value(
            f"SELECT md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {table} t")
            for table in tables}
        return original.database.rows(STATE), rows

    def services(self, original):
        chatd = self.start("chatd", url=original.database.url)
        messaged = self.start("messaged", url=original.database.url)
        self.users, self.chats, self.messages = chatd.users, chatd.chats, messaged.messages

    def history(self, chat_id):
        """All messages of a chat, newest first."""
        pages = self.all_pages(self.messages.ListMessages, "messages", chat_id=chat_id, limit=7)
        return [message for page in pages for message in page]

