"""Messages: what is sent, listed, edited and deleted, and by whom."""

import unittest

import harness

FOUR_BYTES = "\U0001f339"
NO_SUCH_ID = 999_999_999
NO_MESSAGE = ("NOT_FOUND", "MESSAGE_NOT_FOUND")
NOT_A_MEMBER = ("PERMISSION_DENIED", "NOT_A_MEMBER")
NOT_PERMITTED = ("PERMISSION_DENIED", "NOT_PERMITTED")
REUSED = ("ALREADY_EXISTS", "REQUEST_ID_REUSED")


class MessageCase(harness.SystemTest, harness.People):
    runs = ("chatd", "messaged")

    def setUp(self):
        self.owner, self.member = self.new_user(), self.new_user()
        self.chat = self.new_chat(self.owner, [self.member])

    def send(self, text, user=None, chat=None, **fields):
        return self.messages.SendMessage(chat_id=(chat or self.chat).id,
                                         user_id=(user or self.owner).id, text=text, **fields)

    def send_many(self, count):
        return [self.send(f"message {i}") for i in range(1, count + 1)]

    def list(self, **fields):
        return self.messages.ListMessages(chat_id=self.chat.id, **fields)

    def seqs(self, **fields):
        return [message.seq for message in self.list(**fields).messages]

    def stored(self, columns="count(*)"):
        return self.database.rows(
            f"SELECT {columns} FROM messages WHERE chat_id = %s", self.chat.id)


class SendTest(MessageCase):
    def test_the_answer_carries_the_seq_and_the_message_is_there(self):
        first, second = self.send("one"), self.send("two", user=self.member)
        self.assertEqual((first.seq, second.seq), (1, 2))
        self.assertEqual((second.chat_id, second.user_id, second.text, second.revision),
                         (self.chat.id, self.member.id, "two", 1))
        self.assertFalse(second.deleted)
        self.assertTrue(second.etag)
        self.assertEqual(second.create_time, second.update_time)
        self.assertEqual(self.messages.GetMessage(message_id=second.id), second)
        self.assertEqual(self.messages.GetMessage(chat_id=self.chat.id, seq=2), second)
        self.assertEqual(self.send("elsewhere", chat=self.new_chat(self.owner)).seq, 1)

    def test_a_text_has_1_to_1024_characters_of_any_size(self):
        for character in ("x", "\u00fc", FOUR_BYTES):
            self.assertEqual(self.send(character * 1024).text, character * 1024)
            with self.assert_error("INVALID_ARGUMENT", field="text"):
                self.send(character * 1025)
        with self.assert_error("INVALID_ARGUMENT", field="text"):
            self.send("")
        with self.assert_error("INVALID_ARGUMENT", field="text"):
            self.send("a\0b")
        self.assertEqual(self.send("next").seq, 4)

    def test_only_a_member_who_is_not_blocked_sends(self):
        stranger = self.new_user()
        with self.assert_error(*NOT_A_MEMBER):
            self.send("let me in", user=stranger)
        with self.assert_error(*NOT_A_MEMBER):
            self.messages.SendMessage(chat_id=self.chat.id, user_id=NO_SUCH_ID, text="x")
        with self.assert_error("NOT_FOUND", "CHAT_NOT_FOUND"):
            self.messages.SendMessage(chat_id=NO_SUCH_ID, user_id=self.owner.id, text="x")
        self.block(self.member)
        with self.assert_error("PERMISSION_DENIED", "USER_BLOCKED"):
            self.send("I was blocked", user=self.member)
        self.chats.AddUserToChat(chat_id=self.chat.id, user_id=stranger.id)
        self.assertEqual(self.send("now I may", user=stranger).seq, 1)
        self.chats.RemoveUserFromChat(chat_id=self.chat.id, user_id=stranger.id)
        with self.assert_error(*NOT_A_MEMBER):
            self.send("once more", user=stranger)
        self.assertEqual(self.stored(), [(1,)])

    def test_a_request_id_answers_with_the_first_message_for_ever(self):
        first = self.send("once", request_id="m-1")
        self.assertEqual(self.send("once", request_id="m-1"), first)
        with self.assert_error(*REUSED):
            self.send("twice", request_id="m-1")
        theirs = self.send("once", user=self.member, request_id="m-1")
        other_chat = self.send("once", chat=self.new_chat(self.owner), request_id="m-1")
        self.assertEqual(len({first.id, theirs.id, other_chat.id}), 3)

        edited = self.messages.UpdateMessage(message={"id": first.id, "text": "edited"},
                                             user_id=self.owner.id)
        self.assertEqual(self.send("once", request_id="m-1"), edited)
        with self.assert_error(*REUSED):
            self.send("edited", request_id="m-1")
        tombstone = self.messages.DeleteMessage(message_id=first.id, user_id=self.owner.id)
        self.assertEqual(self.send("once", request_id="m-1"), tombstone)
        self.assertEqual(self.stored(), [(2,)])

    def test_a_replay_is_answered_after_the_sender_has_left(self):
        first = self.send("before I go", user=self.member, request_id="m-1")
        self.chats.RemoveUserFromChat(chat_id=self.chat.id, user_id=self.member.id)
        self.assertEqual(self.send("before I go", user=self.member, request_id="m-1"), first)

    def test_eight_twins_write_one_message(self):
        for round_number in range(5):
            replies = harness.in_threads(
                8, lambda _, name=f"twin-{round_number}": self.send("twin", request_id=name))
            self.assertEqual({reply.seq for reply in replies}, {round_number + 1})
            self.assertEqual({reply.id for reply in replies}, {replies[0].id})
        self.assertEqual(self.stored(), [(5,)])

    def test_sixteen_senders_leave_no_hole_and_no_double(self):
        replies = harness.in_threads(16, lambda thread: [
            self.send(f"{thread}.{i}") for i in range(20)])
        for own in replies:
            self.assertEqual([m.seq for m in own], sorted(m.seq for m in own))
        answered = {message.seq: message.text for message in sum(replies, [])}
        self.assertEqual(sorted(answered), list(range(1, 321)))
        self.assertEqual(dict(self.stored("seq, text")), answered)
        times = [time for _, time in sorted(self.stored("seq, created_at"))]
        self.assertEqual(times, sorted(times))


class ListTest(MessageCase):
    def test_the_newest_come_first_twenty_at_a_time(self):
        self.send_many(25)
        reply = self.list()
        self.assertEqual([m.seq for m in reply.messages], list(range(25, 5, -1)))
        rest = self.list(page_token=reply.next_page_token)
        self.assertEqual([m.seq for m in rest.messages], [5, 4, 3, 2, 1])
        self.assertEqual(rest.next_page_token, "")
        self.assertEqual(self.seqs(limit=3), [25, 24, 23])
        self.assertEqual(self.seqs(limit=3, offset=2), [23, 22, 21])
        self.assertEqual(self.seqs(offset=24), [1])
        for offset in (25, 2**40, 2**63 - 1):
            self.assertEqual(self.seqs(offset=offset), [])

    def test_a_chat_may_be_empty_but_not_unknown(self):
        self.assertEqual(self.list(), type(self.list())())
        with self.assert_error("NOT_FOUND", "CHAT_NOT_FOUND"):
            self.messages.ListMessages(chat_id=NO_SUCH_ID)

    def test_anchors_say_where_to_begin_and_in_which_direction(self):
        self.send_many(10)
        self.assertEqual(self.seqs(before_seq=4), [3, 2, 1])
        self.assertEqual(self.seqs(before_seq=1), [])
        self.assertEqual(self.seqs(before_seq=10**9, limit=2), [10, 9])
        self.assertEqual(self.seqs(before_seq=9, offset=1, limit=2), [7, 6])
        self.assertEqual(self.seqs(after_seq=7), [8, 9, 10])
        self.assertEqual(self.seqs(after_seq=0, limit=3), [1, 2, 3])
        self.assertEqual(self.seqs(after_seq=2, offset=3, limit=2), [6, 7])
        self.assertEqual(self.seqs(after_seq=10), [])
        for anchor in ({"before_seq": 0}, {"before_seq": -1}, {"after_seq": -1}):
            with self.assert_error("INVALID_ARGUMENT", field=next(iter(anchor))):
                self.list(**anchor)

    def test_at_most_200_come_at_once_and_the_longest_texts_come_through(self):
        text = FOUR_BYTES * 1024
        harness.in_threads(4, lambda _: [self.send(text) for _ in range(64)])
        for limit in (200, 201, 2**31 - 1):
            self.assertEqual(len(self.list(limit=limit).messages), 200)
        for anchor, expected in (({}, range(256, 0, -1)), ({"after_seq": 0}, range(1, 257)),
                                 ({"before_seq": 230}, range(229, 0, -1))):
            pages = self.all_pages(self.messages.ListMessages, "messages", chat_id=self.chat.id,
                                   limit=200, **anchor)
            self.assertEqual([m.seq for m in sum(pages, [])], list(expected))
            self.assertEqual({m.text for m in sum(pages, [])}, {text})
        self.assertLess(self.list(limit=200).ByteSize(), 4 << 20)

    def test_pages_neither_skip_nor_repeat_while_messages_arrive(self):
        for anchor, expected in (({}, range(50, 0, -1)), ({"before_seq": 41}, range(40, 0, -1)),
                                 ({"after_seq": 0}, range(1, 69))):
            self.chat = self.new_chat(self.owner)
            self.send_many(50)
            seen, token, arrived = [], "", 0
            while True:
                reply = self.list(limit=7, page_token=token, **anchor)
                seen += [message.seq for message in reply.messages]
                token = reply.next_page_token
                if not token:
                    break
                if arrived < 18:  # then the list from the oldest on comes to its end
                    harness.in_threads(3, lambda _: self.send("arrived meanwhile"))
                    arrived += 3
            self.assertEqual(seen, list(expected))

    def test_a_page_token_outlives_the_message_it_stands_on(self):
        self.send_many(6)
        reply = self.list(limit=3)
        for seq in (4, 3):
            self.messages.DeleteMessage(chat_id=self.chat.id, seq=seq, user_id=self.owner.id)
        self.assertEqual(self.seqs(page_token=reply.next_page_token), [2, 1])

    def test_tombstones_are_not_listed_and_not_counted(self):
        self.send_many(10)
        for seq in (10, 8, 3):
            self.messages.DeleteMessage(chat_id=self.chat.id, seq=seq, user_id=self.owner.id)
        self.assertEqual(self.seqs(), [9, 7, 6, 5, 4, 2, 1])
        self.assertEqual(self.seqs(offset=2, limit=2), [6, 5])
        self.assertEqual(self.seqs(after_seq=1, offset=1, limit=2), [4, 5])
        self.assertEqual(self.seqs(before_seq=9, offset=1, limit=1), [6])
        pages = self.all_pages(self.messages.ListMessages, "messages", chat_id=self.chat.id,
                               limit=2)
        self.assertEqual([[m.seq for m in page] for page in pages if page],
                         [[9, 7], [6, 5], [4, 2], [1]])


class ChangeTest(MessageCase):
    def edit(self, user, message, paths=None, **fields):
        mask = {} if paths is None else {"update_mask": {"paths": paths}}
        return self.messages.UpdateMessage(message=message, user_id=user.id, **mask, **fields)

    def delete(self, user, **key):
        return self.messages.DeleteMessage(user_id=user.id, **key)

    def test_the_author_edits_and_nobody_else(self):
        message = self.send("frist", user=self.member)
        for stranger in (self.owner, self.new_user()):
            with self.assert_error(*NOT_PERMITTED):
                self.edit(stranger, {"id": message.id, "text": "mine now"})
        edited = self.edit(self.member, {"id": message.id, "text": "first"})
        self.assertEqual((edited.id, edited.seq, edited.text, edited.revision),
                         (message.id, message.seq, "first", 2))
        self.assertNotEqual(edited.etag, message.etag)
        self.assertEqual(edited.create_time, message.create_time)
        self.assertGreater(edited.update_time.ToNanoseconds(), message.update_time.ToNanoseconds())
        again = self.edit(self.member, {"chat_id": self.chat.id, "seq": 1, "text": "1st"})
        self.assertEqual((again.id, again.text, again.revision), (message.id, "1st", 3))
        self.assertEqual(list(self.list().messages), [again])

    def test_an_old_etag_aborts_and_changes_nothing(self):
        message = self.send("one")
        newer = self.edit(self.owner, {"id": message.id, "text": "two", "etag": message.etag})
        with self.assert_error("ABORTED", "ETAG_MISMATCH"):
            self.edit(self.owner, {"id": message.id, "text": "three", "etag": message.etag})
        self.assertEqual(self.messages.GetMessage(message_id=message.id), newer)

    def test_only_the_text_can_be_changed_and_only_to_a_valid_one(self):
        message = self.send("text")
        for paths in (["text"], ["*"], None):
            self.edit(self.owner, {"id": message.id, "text": "new text"}, paths)
        for path in ("seq", "user_id", "no_such_field"):
            with self.assert_error("INVALID_ARGUMENT", field="update_mask"):
                self.edit(self.owner, {"id": message.id, "text": "x"}, [path])
        for text in ("", "x" * 1025, "\0"):
            with self.assert_error("INVALID_ARGUMENT", field="message.text"):
                self.edit(self.owner, {"id": message.id, "text": text}, ["text"])
        self.assertEqual(self.messages.GetMessage(message_id=message.id).text, "new text")

    def test_a_deleted_message_leaves_a_tombstone_without_its_text(self):
        message = self.send("forget this", user=self.member)
        tombstone = self.delete(self.member, message_id=message.id)
        self.assertEqual((tombstone.id, tombstone.seq, tombstone.text, tombstone.deleted),
                         (message.id, 1, "", True))
        self.assertEqual(self.delete(self.member, chat_id=self.chat.id, seq=1), tombstone)
        self.assertEqual(self.messages.GetMessage(message_id=message.id), tombstone)
        self.assertEqual(self.seqs(), [])
        self.assertEqual(self.database.value(
            "SELECT count(*) FROM messages m WHERE m::text LIKE %s", "%forget this%"), 0)
        with self.assert_error("FAILED_PRECONDITION", "MESSAGE_DELETED"):
            self.edit(self.member, {"id": message.id, "text": "back again"})
        self.assertEqual(self.send("next").seq, 2)

    def test_the_author_an_owner_and_an_admin_delete_and_nobody_else(self):
        admin, other = self.new_user(), self.new_user()
        self.chats.AddUserToChat(chat_id=self.chat.id, user_id=admin.id, role="CHAT_ROLE_ADMIN")
        self.chats.AddUserToChat(chat_id=self.chat.id, user_id=other.id)
        elsewhere = self.new_user()
        self.new_chat(elsewhere)  # an owner, but of another chat
        for allowed in (self.member, self.owner, admin):
            message = self.send("delete me", user=self.member)
            for denied in (other, elsewhere):
                with self.assert_error(*NOT_PERMITTED):
                    self.delete(denied, message_id=message.id)
            self.assertTrue(self.delete(allowed, message_id=message.id).deleted)

    def test_a_message_is_named_in_one_way_and_must_exist(self):
        message = self.send("here")
        for call in (self.messages.GetMessage,
                     lambda **key: self.delete(self.owner, **key)):
            for key in ({"message_id": NO_SUCH_ID}, {"chat_id": self.chat.id, "seq": 99},
                        {"chat_id": NO_SUCH_ID, "seq": 1}):
                with self.assert_error(*NO_MESSAGE):
                    call(**key)
            for key in ({}, {"chat_id": self.chat.id}, {"seq": 1},
                        {"message_id": message.id, "chat_id": self.chat.id, "seq": 1}):
                with self.assert_error("INVALID_ARGUMENT"):
                    call(**key)
        with self.assert_error(*NO_MESSAGE):
            self.edit(self.owner, {"id": NO_SUCH_ID, "text": "x"})


if __name__ == "__main__":
    unittest.main()
