"""Erasure: what a user has said is gone from the whole database, whatever is killed meanwhile."""

import pathlib
import shutil
import subprocess
import unittest

import harness

SECRET = "zanzibarquince"  # a word that nobody else says


def pg_dump():
    """Where Debian keeps it, if it is not on the path."""
    return shutil.which("pg_dump") or str(
        max(pathlib.Path("/usr/lib/postgresql").glob("*/bin/pg_dump")))


class EraseCase(harness.SystemTest, harness.People):
    runs = ("chatd", "messaged")

    def dump(self):
        """All that is in the database, as text."""
        return subprocess.run([pg_dump(), "--dbname", self.database.url], check=True, text=True,
                              capture_output=True).stdout

    def wait_until_done(self, user, users=None):
        def look():
            erasure = (users or self.users).GetErasure(user_id=user.id)
            return erasure if erasure.done else None
        return harness.poll("the erasure to end", look)

    def fill(self, chat, user, count):
        """Messages of a user, quicker than by sending them."""
        self.database.rows(
            "WITH had AS (UPDATE chats SET last_seq = last_seq + %(n)s, last_sent_at = now()"
            "  WHERE id = %(c)s RETURNING last_seq - %(n)s AS had)"
            " INSERT INTO messages (chat_id, seq, user_id, text, search)"
            " SELECT %(c)s, had.had + n, %(u)s, %(t)s || ' ' || n,"
            "  to_tsvector('simple', %(t)s || ' ' || n)"
            " FROM had, generate_series(1, %(n)s) AS n" % {
                "n": count, "c": chat.id, "u": user.id, "t": f"'{SECRET}'"})


class EraseTest(EraseCase):
    def test_nothing_that_the_user_has_said_is_found_anywhere(self):
        user = self.new_user(login=SECRET + "-login", name=SECRET + " name", password=SECRET,
                             request_id=SECRET + "-create")
        other = self.new_user()
        chat = self.new_chat(other, [user])
        own = self.new_chat(user, [other])
        send = self.messaged.messages.SendMessage
        for number in range(3):
            send(chat_id=chat.id, user_id=user.id, text=f"{SECRET} {number}",
                 request_id=f"{SECRET}-{number}")
        edited = send(chat_id=own.id, user_id=user.id, text=SECRET + " before")
        self.messaged.messages.UpdateMessage(
            message={"chat_id": own.id, "seq": edited.seq, "text": SECRET + " after"},
            user_id=user.id)
        kept = send(chat_id=chat.id, user_id=other.id, text="what others say stays")
        for seconds in (0, 4_000_000_000):
            self.messaged.messages.ScheduleMessage(
                chat_id=chat.id, user_id=user.id, text=SECRET + " later",
                run_time={"seconds": seconds}, request_id=f"{SECRET}-later-{seconds}")
        self.assertIn(SECRET, self.dump())

        erasure = self.users.EraseUser(user_id=user.id)
        self.assertEqual(erasure.user_id, user.id)
        erased = self.users.GetUser(user_id=user.id)
        self.assertEqual((erased.login, erased.HasField("name"), erased.status),
                         (f"erased-{user.id}", False, 2))
        done = self.wait_until_done(user)
        self.assertEqual((done.messages_remaining, done.last_error), (0, ""))
        self.assertGreaterEqual(done.messages_erased, 4)
        self.assertNotIn(SECRET, self.dump())

        message = self.messaged.messages.GetMessage(chat_id=own.id, seq=edited.seq)
        self.assertEqual((message.deleted, message.text, message.user_id), (True, "", user.id))
        self.assertEqual(self.messaged.messages.GetMessage(message_id=kept.id), kept)
        scheduled = self.messaged.messages.ListScheduledMessages(user_id=user.id)
        self.assertEqual({one.text for one in scheduled.scheduled_messages}, {""})
        self.assertEqual([m.user.id for m in self.chats.ListChatUsers(chat_id=own.id).members],
                         [other.id])
        self.assertEqual(self.chats.ListChatUsers(chat_id=own.id).members[0].role, 1)  # OWNER
        self.assertEqual(self.chats.GetChat(chat_id=chat.id).user_count, 1)

    def test_an_erased_user_stays_so(self):
        user = self.new_user(login="taken")
        chat = self.new_chat(self.new_user(), [user])
        self.users.EraseUser(user_id=user.id)
        self.wait_until_done(user)
        for call in (lambda: self.users.UpdateUser(user={"id": user.id, "login": "back"}),
                     lambda: self.users.SetPassword(user_id=user.id, password="x")):
            with self.assert_error("FAILED_PRECONDITION", "USER_ERASED"):
                call()
        with self.assert_error("FAILED_PRECONDITION", "USER_BLOCKED"):
            self.chats.AddUserToChat(chat_id=chat.id, user_id=user.id)
        self.assertNotEqual(self.new_user(login="taken").id, user.id)
        with self.assert_error("INVALID_ARGUMENT", field="login"):
            self.new_user(login=f"ERASED-{user.id}")
        self.assertEqual(self.users.EraseUser(user_id=user.id),
                         self.users.GetErasure(user_id=user.id))

    def test_people_go_on_while_a_user_of_their_chats_is_erased(self):
        user, other = self.new_user(), self.new_user()
        chat = self.new_chat(other, [user])
        self.fill(chat, user, 5000)
        self.users.EraseUser(user_id=user.id)
        sent = [self.messaged.messages.SendMessage(chat_id=chat.id, user_id=other.id, text="on").seq
                for _ in range(50)]
        self.assertEqual(sent, list(range(5001, 5051)))
        with self.assert_error("PERMISSION_DENIED"):
            self.messaged.messages.SendMessage(chat_id=chat.id, user_id=user.id, text="no")
        self.assertEqual(self.wait_until_done(user).messages_erased, 5000)
        # Each deletion is numbered once, without holes.
        self.assertEqual(self.database.rows(
            "SELECT count(*), min(event), max(event), (SELECT last_event FROM chats WHERE id = %s)"
            " FROM message_events WHERE chat_id = %s", chat.id, chat.id), [(5000, 1, 5000, 5000)])


class KilledTest(EraseCase):
    runs = ("chatd",)
    MESSAGES = 40_000

    def test_an_erasure_goes_on_after_its_process_was_killed(self):
        user = self.new_user()
        chats = [self.new_chat(self.new_user(), [user]) for _ in range(2)]
        for chat in chats:
            self.fill(chat, user, self.MESSAGES // 2)
        erasure = self.chatd.users.EraseUser(user_id=user.id)
        self.assertEqual(erasure.messages_remaining, self.MESSAGES)
        seen = [0]

        def progress():
            erasure = self.chatd.users.GetErasure(user_id=user.id)
            self.assertEqual(erasure.messages_erased + erasure.messages_remaining, self.MESSAGES)
            seen.append(erasure.messages_erased)
            return erasure.messages_erased >= 2000
        harness.poll("some messages to be erased", progress)
        self.chatd.kill()
        self.assertGreater(self.database.value(
            "SELECT count(*) FROM messages WHERE NOT deleted"), 0, "killed too late")
        second = self.start("chatd")
        half_way = second.users.GetErasure(user_id=user.id)
        self.assertGreaterEqual(half_way.messages_erased, 2000)
        self.assertGreater(half_way.messages_remaining, 0)
        # SIGTERM, too, leaves it for others: at once.
        harness.poll("the second process to take it over", lambda: second.users.GetErasure(
            user_id=user.id).messages_erased > half_way.messages_erased)
        self.assertEqual(second.stop(), 0)
        third = self.start("chatd")
        done = self.wait_until_done(user, third.users)
        self.assertEqual((done.messages_erased, done.messages_remaining), (self.MESSAGES, 0))
        self.assertEqual(seen, sorted(seen))
        self.assertEqual(self.database.value("SELECT count(*) FROM messages WHERE NOT deleted"), 0)
        self.assertEqual(self.database.rows(
            "SELECT count(*), max(event) FROM message_events GROUP BY chat_id"),
            [(self.MESSAGES // 2, self.MESSAGES // 2)] * 2)
        self.assertNotIn(SECRET, self.dump())


if __name__ == "__main__":
    unittest.main()
