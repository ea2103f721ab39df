"""The original's database becomes Parley's: every row reads back through gRPC, in the original's order."""

import datetime
import shutil
import subprocess
import unittest

from sqlalchemy import null

from adoptions import AdoptionTest, at, instant
from database import Database

FOUR_BYTES = "\U0001f600 \U00020bb7 caf\u00e9 \u4f60\u597d"
NOON = datetime.datetime(2021, 6, 1, 12, 0)
FOLD = datetime.datetime(2021, 10, 31, 2, 30)  # Berlin's clocks showed it twice
GAP = datetime.datetime(2021, 3, 28, 2, 30)  # and this one never


def minutes(count):
    return datetime.timedelta(minutes=count)


class Awkward(AdoptionTest):
    """Data as an application of many years has it."""

    def fill(self, original):
        ann = original.add_user("Ann", name="Ann " + FOUR_BYTES, password="one", created=NOON)
        bob = original.add_user("\uff22ob", name=None, status=null(), created=FOLD, updated=null())
        original.add_user("gone")
        carl = original.add_user("carl", name="", created=null(), updated=null())
        original.database.rows("DELETE FROM users WHERE login = 'gone'")
        original.database.rows("UPDATE users SET status = 'blocked' WHERE id = %s", carl)
        chat = original.add_chat(ann, [ann, bob, bob, bob, carl], title=FOUR_BYTES,
                                 description=FOUR_BYTES, chat_type="group", created=NOON)
        quiet = original.add_chat(4711, [bob], chat_type="private", created=null(), updated=null())
        texts = [
            (ann, NOON), (bob, NOON + minutes(2)), (ann, NOON + minutes(1)),  # ids and times disagree
            (ann, NOON + minutes(3)), (bob, NOON + minutes(3)), (carl, NOON + minutes(3)),  # one time
            (bob, FOLD - minutes(60)), (ann, FOLD), (bob, FOLD + minutes(60)),
            (ann, null()), (bob, null()),
            (carl, GAP), (carl, GAP + minutes(45)),
        ]
        for number, (user, created) in enumerate(texts):
            original.add_message(chat, user, f"{number} {FOUR_BYTES}", created=created)
            if number % 5 == 4:
                original.database.rows("SELECT nextval('messages_id_seq')")  # a gap
        original.add_message(quiet, bob, "x" * 1024)
        original.database.rows("UPDATE messages SET updated = created + interval '1 day'"
                               " WHERE user_id = %s", bob)
        return chat, quiet

    def adopt_and_compare(self, **options):
        original = self.original(**options)
        chats = self.fill(original)
        last = {chat: original.get_last_messages(chat, limit=100) for chat in chats}
        users, old_chats = original.all_rows("User"), original.all_rows("Chat")
        members = {chat: sorted(set(original.database.rows(
            "SELECT user_id FROM chat_user WHERE chat_id = %s", chat))) for chat in chats}
        objects = self.adopt(original)
        self.assertEqual(objects[-1]["event"], "adopted", objects[-1])
        self.services(original)
        for user in users:
            self.compare_user(user)
        for chat in old_chats:
            self.compare_chat(chat, members[chat.id])
        for chat, messages in last.items():
            self.compare_history(chat, messages)
        return original, chats

    def compare_user(self, old):
        user = self.users.GetUser(user_id=old.id)
        self.assertEqual(user.login, old.login)
        self.assertEqual(user.name if user.HasField("name") else None, old.name)
        self.assertEqual(user.status, 1 if old.status is None or old.status.name == "active" else 2)
        if old.created:
            self.assertEqual(at(user.create_time), instant(old.created))
            self.assertEqual(at(user.update_time), instant(old.updated or old.created))
        self.assertEqual(self.users.GetUser(login=old.login.lower()), user)

    def compare_chat(self, old, members):
        chat = self.chats.GetChat(chat_id=old.id)
        self.assertEqual((chat.title, chat.description if chat.HasField("description") else None),
                         (old.title, old.description))
        self.assertEqual(chat.chat_type, {"private": 1, "group": 2}[old.chat_type.name])
        self.assertEqual(chat.creator_user_id, old.creator_user_id)
        self.assertEqual([(user.id,) for user in chat.users], members)
        self.assertEqual(chat.user_count, len(members))
        if old.created:
            self.assertEqual(at(chat.create_time), instant(old.created))

    def compare_history(self, chat, last):
        history = self.history(chat)
        # Of one time, the original's order was whatever PostgreSQL came across first.
        last = sorted(last, key=lambda m: (m.created is None, m.created or NOON, m.id), reverse=True)
        self.assertEqual([m.id for m in history], [m.id for m in last])
        self.assertEqual([m.seq for m in history], list(range(len(last), 0, -1)))
        for new, old in zip(history, last):
            self.assertEqual((new.text, new.user_id, new.chat_id), (old.text, old.user_id, chat))
            self.assertEqual(self.messages.GetMessage(message_id=old.id), new)
        times = [at(m.create_time) for m in history]
        self.assertEqual(times, sorted(times, reverse=True))
        moved = 0
        for new, old in zip(history, last):
            if old.created and at(new.create_time) != instant(old.created):
                moved += 1
            elif old.created and old.updated:
                self.assertEqual(at(new.update_time), instant(old.updated))
        return moved


class AdoptTest(Awkward):
    def test_every_row_reads_back_equal_and_in_the_order_of_get_last_messages(self):
        self.adopt_and_compare()

    def test_it_does_so_beside_alembic(self):
        original, _ = self.adopt_and_compare(with_alembic=True)
        self.assertEqual(len(original.database.rows("SELECT * FROM original.alembic_version")), 1)
        self.assertIsNone(original.database.value("SELECT to_regclass('public.alembic_version')"))

    def test_the_order_is_the_originals_own_where_no_times_are_equal(self):
        original = self.original()
        user = original.add_user("u")
        chat = original.add_chat(user, [user])
        for number in range(50):
            original.add_message(chat, user, str(number),
                                 created=NOON + minutes(number * 37 % 50))
        last = [original.get_last_messages(chat, offset=offset) for offset in (0, 20, 40)]
        self.adopt(original)
        self.services(original)
        for offset, page in zip((0, 20, 40), last):
            reply = self.messages.ListMessages(chat_id=chat, offset=offset, limit=20)
            self.assertEqual([m.text for m in reply.messages], [m.text for m in page])

    def test_times_never_go_back_inside_a_chat_and_what_moved_is_told(self):
        original = self.original()
        user = original.add_user("u")
        chat = original.add_chat(user, [user])
        # 02:30 did not occur and is read as 03:30, after 03:15.
        original.add_message(chat, user, "skipped", created=GAP, updated=GAP)
        original.add_message(chat, user, "later", created=GAP + minutes(45),
                             updated=GAP + minutes(45))
        found = self.check(original)
        self.assertEqual(found["messages-whose-time-moves"]["rows"], [f"message 2, chat {chat}"])
        self.assertEqual(found["messages-at-times-that-do-not-occur"]["count"], 1)
        self.adopt(original)
        self.services(original)
        history = self.history(chat)
        self.assertEqual([m.text for m in history], ["later", "skipped"])
        self.assertEqual({at(m.create_time) for m in history}, {instant(GAP)})
        self.assertEqual({at(m.update_time) for m in history}, {instant(GAP)})

    def test_life_goes_on_with_the_next_ids_and_seqs(self):
        original = self.original()
        ann = original.add_user("ann")
        chat = original.add_chat(ann, [ann])
        for text in "ab":
            original.add_message(chat, ann, text)
        # What was the newest is gone; its id is not given out again.
        newest = original.add_message(chat, ann, "deleted")
        original.database.rows("DELETE FROM messages WHERE id = %s", newest)
        self.adopt(original)
        self.services(original)
        sent = self.messages.SendMessage(chat_id=chat, user_id=ann, text="c")
        self.assertEqual((sent.id, sent.seq), (newest + 1, 3))
        self.assertEqual([m.text for m in self.history(chat)], ["c", "b", "a"])
        self.assertEqual(self.users.CreateUser(login="bob").id, ann + 1)
        new = self.chats.CreateChat(creator_user_id=ann, title="t", chat_type=2)
        self.assertEqual(new.id, chat + 1)
        with self.assert_error("ALREADY_EXISTS", "LOGIN_TAKEN"):
            self.users.CreateUser(login="ANN")
        self.assertEqual(list(self.messages.SearchMessages(user_id=ann, query="b").messages)[0]
                         .text, "b")

    def test_the_creator_owns_the_chat_and_nobody_has_unread_messages(self):
        original = self.original()
        ann, bob = original.add_user("ann"), original.add_user("bob")
        chat = original.add_chat(ann, [ann, bob])
        original.add_message(chat, ann, "old")
        self.adopt(original)
        self.services(original)
        roles = {m.user.id: m.role for m in self.chats.ListChatUsers(chat_id=chat).members}
        self.assertEqual(roles, {ann: 1, bob: 3})
        self.messages.SendMessage(chat_id=chat, user_id=ann, text="new")
        counts = self.messages.GetUnreadCounts(user_id=bob)
        self.assertEqual([c.unread_count for c in counts.counts], [1])

    def test_the_old_tables_stay_as_they_were_and_can_go(self):
        original = self.original(with_alembic=True)
        self.fill(original)
        _, before = self.state(original)
        self.adopt(original)
        _, after = self.state(original)
        for table, rows in before.items():
            self.assertEqual(after[table.replace("public.", "original.")], rows, table)
        original.database.rows("DROP SCHEMA original CASCADE")
        self.services(original)
        self.assertEqual(original.database.migrate("up").stdout.strip(), "nothing to do")
        self.assertGreater(len(self.history(1)), 10)

    def test_the_schema_is_the_one_that_up_makes(self):
        original = self.original()
        self.fill(original)
        self.adopt(original)
        fresh = Database("fresh")
        self.addCleanup(fresh.drop)
        self.assertEqual(self.schema(original.database), self.schema(fresh))
        original.database.migrate("verify")

    def schema(self, database):
        """What pg_dump says of schema public, but its lines that differ with every run."""
        dump = subprocess.run([shutil.which("pg_dump"), "--schema-only", "--schema=public", database.url],
                              check=True, text=True, stdout=subprocess.PIPE).stdout
        return [line for line in dump.splitlines() if not line.startswith("\\")]

    def test_what_was_adopted_is_not_adopted_again(self):
        original = self.original()
        self.adopt(original)
        found = self.findings(self.adopt(original, code=4))
        self.assertIn("adopted before", found["already-parleys"]["what"])
        self.check(original, code=4)


if __name__ == "__main__":
    unittest.main()
