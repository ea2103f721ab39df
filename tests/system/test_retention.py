"""Retention: old messages are hidden at once and removed for good, whatever is killed meanwhile."""

import unittest

import harness


class RetentionCase(harness.SystemTest, harness.People):
    def setUp(self):
        self.user, self.other = self.new_user(), self.new_user()
        self.chat = self.new_chat(self.user, [self.other])

    def keep(self, seconds):
        return self.chats.UpdateChat(
            chat={"id": self.chat.id, "message_retention": {"seconds": seconds}})

    def stored(self):
        return self.database.value("SELECT count(*) FROM messages WHERE chat_id = %s",
                                   self.chat.id)


class RetentionTest(RetentionCase):
    runs = ("chatd", "messaged")

    def fill(self, old, young):
        """Two hours old, and new; sent in this order."""
        for text in [f"old {n}" for n in range(old)] + [f"young {n}" for n in range(young)]:
            self.messages.SendMessage(chat_id=self.chat.id, user_id=self.user.id, text=text,
                                      request_id=text.replace(" ", "-"))
        self.database.rows(
            "UPDATE messages SET created_at = created_at - interval '2 hours',"
            " updated_at = updated_at - interval '2 hours' WHERE chat_id = %s AND seq <= %s",
            self.chat.id, old)

    def seqs(self, **fields):
        return [m.seq for m in self.messages.ListMessages(chat_id=self.chat.id, **fields).messages]

    def test_what_is_too_old_is_gone_from_everything_at_once_and_then_for_good(self):
        self.fill(old=5, young=3)
        unread = self.messages.GetUnreadCounts(user_id=self.other.id)
        self.assertEqual(unread.total_unread_count, 8)
        chat = self.keep(3600)
        self.assertEqual(chat.message_retention.seconds, 3600)
        self.assertEqual(self.chats.GetChat(chat_id=self.chat.id), chat)
        self.assertEqual(self.seqs(), [8, 7, 6])
        self.assertEqual(self.seqs(after_seq=0), [6, 7, 8])
        self.assertEqual(self.seqs(offset=3), [])
        self.assertEqual(
            self.messages.GetUnreadCounts(user_id=self.other.id).total_unread_count, 3)
        self.assertEqual(
            len(self.messages.SearchMessages(user_id=self.user.id, query="old").messages), 0)
        with self.assert_error("NOT_FOUND", "MESSAGE_NOT_FOUND"):
            self.messages.GetMessage(chat_id=self.chat.id, seq=5)
        harness.poll("what is hidden to be removed", lambda: self.stored() == 3)
        with self.assert_error("NOT_FOUND", "MESSAGE_EXPIRED"):
            self.messages.SendMessage(chat_id=self.chat.id, user_id=self.user.id, text="old 0",
                                      request_id="old-0")
        with self.assert_error("ALREADY_EXISTS", "REQUEST_ID_REUSED"):
            self.messages.SendMessage(chat_id=self.chat.id, user_id=self.user.id, text="other",
                                      request_id="old-0")
        self.assertEqual(self.messages.SendMessage(
            chat_id=self.chat.id, user_id=self.user.id, text="next").seq, 9)

    def test_it_goes_on_by_itself(self):
        self.fill(old=0, young=2)
        self.keep(60)
        self.assertEqual(self.seqs(), [2, 1])
        # A minute later, and the chat rests until the first message expires.
        self.database.rows(
            "UPDATE messages SET created_at = created_at - interval '58 seconds'"
            " WHERE chat_id = %s AND seq = 1", self.chat.id)
        self.database.rows("UPDATE chats SET purge_at = now() WHERE id = %s", self.chat.id)
        harness.poll("the first message to be hidden", lambda: self.seqs() == [2])
        harness.poll("the first message to be removed", lambda: self.stored() == 1)

    def test_a_time_that_is_none_is_refused_by_name(self):
        for seconds in (59, -1, 36525 * 86400 + 1):
            with self.assert_error("INVALID_ARGUMENT", "INVALID_ARGUMENT", "chat.message_retention"):
                self.keep(seconds)
            with self.assert_error("INVALID_ARGUMENT", "INVALID_ARGUMENT", "message_retention"):
                self.chats.CreateChat(creator_user_id=self.user.id, title="t",
                                      chat_type="CHAT_TYPE_GROUP",
                                      message_retention={"seconds": seconds})
        # A mask that names it and a chat that does not: for ever.
        self.keep(3600)
        chat = self.chats.UpdateChat(chat={"id": self.chat.id},
                                     update_mask={"paths": ["message_retention"]})
        self.assertFalse(chat.HasField("message_retention"))

    def test_a_chat_can_be_created_with_it(self):
        made = self.chats.CreateChat(creator_user_id=self.user.id, title="t",
                                     chat_type="CHAT_TYPE_GROUP", request_id="made",
                                     message_retention={"seconds": 3600, "nanos": 500_000_000})
        self.assertEqual((made.message_retention.seconds, made.message_retention.nanos),
                         (3600, 500_000_000))
        with self.assert_error("ALREADY_EXISTS", "REQUEST_ID_REUSED"):
            self.chats.CreateChat(creator_user_id=self.user.id, title="t",
                                  chat_type="CHAT_TYPE_GROUP", request_id="made")


class KilledPurgeTest(RetentionCase):
    runs = ("chatd",)

    def test_it_is_gone_on_with_by_another(self):
        self.database.rows(
            "INSERT INTO messages (chat_id, seq, user_id, text, created_at)"
            " SELECT %s, n, %s, 'old', now() - interval '2 hours'"
            " FROM generate_series(1, 30000) AS n", self.chat.id, self.user.id)
        self.database.rows("UPDATE chats SET last_seq = 30000, last_sent_at = now()"
                              " WHERE id = %s", self.chat.id)
        self.keep(3600)
        first = self.start("messaged")
        harness.poll("a batch to be removed", lambda: self.stored() < 30000)
        first.kill()
        second = self.start("messaged")
        harness.poll("the rest to be removed", lambda: self.stored() == 0)
        self.assertEqual(second.messages.SendMessage(
            chat_id=self.chat.id, user_id=self.user.id, text="next").seq, 30001)


if __name__ == "__main__":
    unittest.main()
