"""Calls that get in each other's way: the answers are those of the protos, nothing is half done."""

import unittest

import grpc

import harness

ROUNDS = 15


def outcome(call):
    """"OK", or the reason of the refusal."""
    try:
        call()
        return "OK"
    except grpc.RpcError as error:
        return harness.Failure().read(error).reason


class RaceTest(harness.SystemTest, harness.People):
    runs = ("chatd", "messaged")

    def send(self, chat, user):
        return self.messages.SendMessage(chat_id=chat.id, user_id=user.id, text="racing")

    def race(self, *calls):
        """Runs the calls at the same time; their outcomes in the same order."""
        return harness.in_threads(len(calls), lambda i: outcome(calls[i]))

    def left(self, table, chat):
        return self.database.value(f"SELECT count(*) FROM {table} WHERE chat_id = %s", chat.id)

    def test_a_chat_is_deleted_while_people_send_and_join(self):
        for _ in range(ROUNDS):
            owner, other = self.new_user(), self.new_user()
            chat = self.new_chat(owner)
            deleted, *others = self.race(
                lambda: self.chats.DeleteChat(chat_id=chat.id),
                *[lambda: self.send(chat, owner)] * 3,
                *[lambda: self.chats.AddUserToChat(chat_id=chat.id, user_id=other.id)] * 2,
                lambda: self.chats.UpdateChat(chat={"id": chat.id, "title": "new"}))
            self.assertEqual(deleted, "OK")
            self.assertLessEqual(set(others), {"OK", "CHAT_NOT_FOUND"})
            self.assertEqual((self.left("messages", chat), self.left("chat_user", chat)), (0, 0))

    def test_a_user_is_deleted_while_the_user_sends(self):
        for _ in range(ROUNDS):
            owner, author = self.new_user(), self.new_user()
            chat = self.new_chat(owner, [author])
            deleted, *sent = self.race(lambda: self.users.DeleteUser(user_id=author.id),
                                       *[lambda: self.send(chat, author)] * 3)
            self.assertLessEqual(set(sent), {"OK", "NOT_A_MEMBER"})
            self.assertEqual(deleted, "USER_HAS_MESSAGES" if "OK" in sent else "OK")
            self.assertEqual(self.left("messages", chat), sent.count("OK"))
            count = self.chats.GetChat(chat_id=chat.id).user_count
            self.assertEqual(count, self.left("chat_user", chat))

    def test_a_user_is_deleted_while_chats_are_made_with_the_user(self):
        for number in range(ROUNDS):
            owner, crowd = self.new_user(), [self.new_user() for _ in range(6)]
            doomed = crowd[number % 6]
            title = f"crowd {number}"
            deleted, *made = self.race(
                lambda: self.users.DeleteUser(user_id=doomed.id),
                *[lambda crowd=crowd[i:] + crowd[:i]: self.new_chat(owner, crowd, title=title)
                  for i in range(6)])
            self.assertEqual(deleted, "OK")
            self.assertLessEqual(set(made), {"OK", "USER_NOT_FOUND"})
            rows = self.database.rows(
                "SELECT user_count, (SELECT count(*) FROM chat_user m WHERE m.chat_id = c.id)"
                " FROM chats c WHERE title = %s", title)
            self.assertEqual(rows, [(6, 6)] * made.count("OK"))

    def test_a_user_is_deleted_while_joining(self):
        for _ in range(ROUNDS):
            owner, user = self.new_user(), self.new_user()
            chat = self.new_chat(owner)
            deleted, *joined = self.race(
                lambda: self.users.DeleteUser(user_id=user.id),
                *[lambda: self.chats.AddUserToChat(chat_id=chat.id, user_id=user.id)] * 3)
            self.assertEqual(deleted, "OK")
            self.assertLessEqual(set(joined), {"OK", "USER_NOT_FOUND"})
            self.assertEqual(self.chats.GetChat(chat_id=chat.id).user_count, 1)
            self.assertEqual(self.left("chat_user", chat), 1)

    def test_a_chat_is_read_while_people_come_and_go(self):
        owner, people = self.new_user(), [self.new_user() for _ in range(4)]
        chat = self.new_chat(owner)

        def come_and_go(person):
            for _ in range(15):
                self.chats.AddUserToChat(chat_id=chat.id, user_id=person.id)
                self.chats.RemoveUserFromChat(chat_id=chat.id, user_id=person.id)

        def read(_):
            for _ in range(50):
                for seen in (self.chats.GetChat(chat_id=chat.id),
                             self.chats.BatchGetChats(chat_ids=[chat.id]).chats[0],
                             self.chats.ListUserChats(user_id=owner.id).chats[0]):
                    self.assertEqual(seen.user_count, len(seen.users))

        harness.in_threads(8, lambda i: come_and_go(people[i]) if i < 4 else read(i))

    def test_a_user_is_deleted_while_being_removed(self):
        owner, user = self.new_user(), self.new_user()
        chat = self.new_chat(owner, [user])
        with self.database.locked("chats", chat.id):  # both want it, the removal first
            removal = self.chats.begin("RemoveUserFromChat", chat_id=chat.id, user_id=user.id)
            harness.poll("the removal to wait", lambda: self.database.blocked_statements() == 1)
            delete = self.users.begin("DeleteUser", user_id=user.id)
            harness.poll("both to wait", lambda: self.database.blocked_statements() == 2)
        self.assertEqual((outcome(removal.result), outcome(delete.result)), ("OK", "OK"))
        self.assertEqual(self.left("chat_user", chat), 1)
        self.assertEqual(self.chats.GetChat(chat_id=chat.id).user_count, 1)

    def test_a_member_is_removed_while_sending(self):
        for _ in range(ROUNDS):
            owner, member = self.new_user(), self.new_user()
            chat = self.new_chat(owner, [member])
            removed, *sent = self.race(
                lambda: self.chats.RemoveUserFromChat(chat_id=chat.id, user_id=member.id),
                *[lambda: self.send(chat, member)] * 4)
            self.assertEqual(removed, "OK")
            self.assertLessEqual(set(sent), {"OK", "NOT_A_MEMBER"})
            self.assertEqual(self.left("messages", chat), sent.count("OK"))
            self.assertEqual(outcome(lambda: self.send(chat, member)), "NOT_A_MEMBER")

    def test_a_message_is_edited_and_deleted_at_once(self):
        owner = self.new_user()
        chat = self.new_chat(owner)
        for _ in range(ROUNDS):
            message = self.send(chat, owner)
            outcomes = self.race(
                lambda: self.messages.DeleteMessage(message_id=message.id, user_id=owner.id),
                *[lambda text=text: self.messages.UpdateMessage(
                    message={"id": message.id, "text": text}, user_id=owner.id)
                  for text in ("one", "two", "three")])
            self.assertEqual(outcomes[0], "OK")
            self.assertLessEqual(set(outcomes[1:]), {"OK", "MESSAGE_DELETED"})
            after = self.messages.GetMessage(message_id=message.id)
            self.assertEqual((after.deleted, after.text), (True, ""))
            self.assertEqual(after.revision, 1 + outcomes[1:].count("OK"))


if __name__ == "__main__":
    unittest.main()
