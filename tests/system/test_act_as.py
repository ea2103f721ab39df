"""Tokens bound to one user: what they may do in that user's name, and nothing else."""

import importlib
import unittest

import harness
from token_cases import DENIED, TokenCase

ALL = "chat.read chat.write message.read message.write"
chat_pb2 = importlib.import_module("parley.chat.v1.chat_pb2")
user_pb2 = importlib.import_module("parley.chat.v1.user_pb2")
message_pb2 = importlib.import_module("parley.message.v1.message_pb2")
OWNER, MEMBER = chat_pb2.CHAT_ROLE_OWNER, chat_pb2.CHAT_ROLE_MEMBER


class ActAsTest(TokenCase):
    def setUp(self):
        super().setUp()
        self.chatd, self.messaged = self.serve("chatd"), self.serve("messaged")
        anybody = self.key.token(ALL)
        users = self.chatd.users.bearing(anybody)
        self.owner, self.member, self.stranger = (
            users.CreateUser(login=f"{name}-{self._testMethodName}").id
            for name in ("owner", "member", "stranger"))
        self.chats = self.chatd.chats.bearing(anybody)
        self.chat = self.chats.CreateChat(
            creator_user_id=self.owner, title="one", chat_type=2, user_ids=[self.member]).id
        self.messages = self.messaged.messages.bearing(anybody)
        self.sent = self.messages.SendMessage(chat_id=self.chat, user_id=self.owner, text="hello")

    def acting(self, user):
        """The clients of somebody who may act for that user only: users, chats, messages."""
        token = self.key.token(ALL, act_as=str(user))
        return (self.chatd.users.bearing(token), self.chatd.chats.bearing(token),
                self.messaged.messages.bearing(token))

    def assert_denied(self, call, **fields):
        with self.assert_error(DENIED, reason="NOT_PERMITTED") as failure:
            call(**fields)
        return failure.text

    def test_messages_are_sent_and_changed_in_ones_own_name_only(self):
        _, _, messages = self.acting(self.member)
        mine = messages.SendMessage(chat_id=self.chat, user_id=self.member, text="mine")
        self.assert_denied(messages.SendMessage, chat_id=self.chat, user_id=self.owner, text="not")
        self.assert_denied(messages.SendMessage, chat_id=self.chat, text="nobody's")
        batch = [{"chat_id": self.chat, "user_id": user, "text": "x"}
                 for user in (self.member, self.owner)]
        self.assert_denied(messages.BatchSendMessages, requests=batch)
        self.assertEqual(len(messages.BatchSendMessages(requests=batch[:1]).results), 1)
        changed = message_pb2.Message(id=mine.id, text="changed")
        self.assert_denied(messages.UpdateMessage, message=changed, user_id=self.owner)
        self.assertEqual(
            messages.UpdateMessage(message=changed, user_id=self.member).text, "changed")
        self.assert_denied(messages.DeleteMessage, message_id=self.sent.id, user_id=self.owner)
        self.assert_denied(messages.MarkRead, chat_id=self.chat, user_id=self.owner, seq=1)
        messages.MarkRead(chat_id=self.chat, user_id=self.member, seq=1)
        later = {"chat_id": self.chat, "text": "later", "run_time": {"seconds": 4102444800}}
        self.assert_denied(messages.ScheduleMessage, user_id=self.owner, **later)
        scheduled = messages.ScheduleMessage(user_id=self.member, **later).id
        self.assert_denied(messages.CancelScheduledMessage, scheduled_message_id=scheduled,
                           user_id=self.owner)
        messages.CancelScheduledMessage(scheduled_message_id=scheduled, user_id=self.member)
        for call in (messages.GetUnreadCounts, messages.ListScheduledMessages):
            self.assert_denied(call, user_id=self.owner)
            call(user_id=self.member)
        self.assert_denied(messages.SearchMessages, query="hello", user_id=self.owner)
        self.assertEqual(
            len(messages.SearchMessages(query="hello", user_id=self.member).messages), 1)

    def test_only_members_read_messages(self):
        other = self.chats.CreateChat(creator_user_id=self.owner, title="two", chat_type=2).id
        hidden = self.messages.SendMessage(chat_id=other, user_id=self.owner, text="hidden")
        _, _, messages = self.acting(self.member)
        self.assertEqual(len(messages.ListMessages(chat_id=self.chat).messages), 1)
        self.assertEqual(messages.GetMessage(message_id=self.sent.id).text, "hello")
        self.assertEqual(messages.GetMessage(chat_id=self.chat, seq=1).text, "hello")
        self.assertEqual(len(messages.BatchGetMessages(message_ids=[self.sent.id]).messages), 1)
        self.assertEqual(len(messages.ListMessageRevisions(message_id=self.sent.id).revisions), 1)
        # What is another's and what does not exist look the same.
        texts = {self.assert_denied(call, **fields) for call, fields in (
            (messages.ListMessages, {"chat_id": other}),
            (messages.ListMessages, {"chat_id": 10**15}),
            (messages.GetMessage, {"message_id": hidden.id}),
            (messages.GetMessage, {"message_id": 10**15}),
            (messages.GetMessage, {"chat_id": other, "seq": 1}),
            (messages.BatchGetMessages, {"message_ids": [self.sent.id, hidden.id]}),
            (messages.BatchGetMessages, {"chat_id": other, "seqs": [1]}),
            (messages.ListMessageRevisions, {"message_id": hidden.id}))}
        self.assertEqual(len(texts), 1)
        # Nor do those who are blocked.
        users = self.chatd.users.bearing(self.key.token(ALL))
        for status, denied in ((2, True), (1, False)):
            users.UpdateUser(user=user_pb2.User(id=self.member, status=status))
            if denied:
                self.assert_denied(messages.ListMessages, chat_id=self.chat)
            else:
                messages.ListMessages(chat_id=self.chat)
        # And no longer than they are members.
        self.chats.RemoveUserFromChat(chat_id=self.chat, user_id=self.member)
        self.assert_denied(messages.ListMessages, chat_id=self.chat)

    def test_watches_are_of_ones_own_chats(self):
        _, _, messages = self.acting(self.member)
        for fields in ({"user_id": self.owner}, {"chat_ids": [self.chat]}):
            with self.assert_error(DENIED):
                list(messages.begin("WatchMessages", **fields))
        watch = messages.begin("WatchMessages", user_id=self.member)
        next(watch)
        self.messages.SendMessage(chat_id=self.chat, user_id=self.owner, text="live")
        events = []
        while not events:
            events = next(watch).events
        self.assertEqual(events[0].sent.text, "live")
        watch.cancel()

    def test_chats_are_read_by_members_and_managed_by_managers(self):
        _, member, _ = self.acting(self.member)
        _, owner, _ = self.acting(self.owner)
        _, stranger, _ = self.acting(self.stranger)
        member.GetChat(chat_id=self.chat)
        member.ListChatUsers(chat_id=self.chat)
        self.assertEqual(len(member.ListUserChats(user_id=self.member).chats), 1)
        self.assert_denied(member.ListUserChats, user_id=self.owner)
        self.assertEqual(len(member.BatchGetChats(chat_ids=[self.chat]).chats), 1)
        self.assert_denied(stranger.GetChat, chat_id=self.chat)
        self.assert_denied(stranger.ListChatUsers, chat_id=self.chat)
        self.assert_denied(stranger.BatchGetChats, chat_ids=[self.chat])
        self.assert_denied(member.BatchGetChats, chat_ids=[self.chat] * 1000)
        with self.assert_error(DENIED, reason="NOT_FOR_USERS"):
            member.ListChats()
        # Nobody lets themselves in.
        self.assert_denied(stranger.AddUserToChat, chat_id=self.chat, user_id=self.stranger)
        self.assert_denied(member.AddUserToChat, chat_id=self.chat, user_id=self.stranger)
        self.assert_denied(member.UpdateChat, chat=chat_pb2.Chat(id=self.chat, title="mine"))
        self.assert_denied(member.DeleteChat, chat_id=self.chat)
        self.assert_denied(member.RemoveUserFromChat, chat_id=self.chat, user_id=self.owner)
        owner.UpdateChat(chat=chat_pb2.Chat(id=self.chat, title="ours"))
        owner.AddUserToChat(chat_id=self.chat, user_id=self.stranger, role=MEMBER)
        stranger.GetChat(chat_id=self.chat)
        stranger.RemoveUserFromChat(chat_id=self.chat, user_id=self.stranger)
        self.assert_denied(stranger.GetChat, chat_id=self.chat)
        self.assert_denied(member.CreateChat, creator_user_id=self.owner, title="x", chat_type=2)
        member.CreateChat(creator_user_id=self.member, title="x", chat_type=2)
        owner.DeleteChat(chat_id=self.chat)

    def test_admins_bring_members_and_no_owners(self):
        _, owner, _ = self.acting(self.owner)
        owner.RemoveUserFromChat(chat_id=self.chat, user_id=self.member)
        owner.AddUserToChat(chat_id=self.chat, user_id=self.member,
                            role=chat_pb2.CHAT_ROLE_ADMIN)
        _, admin, _ = self.acting(self.member)
        self.assert_denied(admin.AddUserToChat, chat_id=self.chat, user_id=self.stranger,
                           role=OWNER)
        admin.AddUserToChat(chat_id=self.chat, user_id=self.stranger)
        self.assert_denied(admin.RemoveUserFromChat, chat_id=self.chat, user_id=self.owner)
        self.assert_denied(admin.DeleteChat, chat_id=self.chat)
        admin.UpdateChat(chat=chat_pb2.Chat(id=self.chat, title="by an admin"))

    def test_users_know_and_change_themselves(self):
        users, _, _ = self.acting(self.member)
        users.GetUser(user_id=self.member)
        self.assert_denied(users.GetUser, user_id=self.owner)
        self.assert_denied(users.GetUser, login=f"owner-{self._testMethodName}")
        users.UpdateUser(user=user_pb2.User(id=self.member, name="Me"))
        self.assert_denied(users.UpdateUser, user=user_pb2.User(id=self.owner, name="Not me"))
        for more in ({"user": user_pb2.User(id=self.member, status=1)},
                     {"user": user_pb2.User(id=self.member), "update_mask": {"paths": ["status"]}},
                     {"user": user_pb2.User(id=self.member), "update_mask": {"paths": ["*"]}}):
            self.assert_denied(users.UpdateUser, **more)
        for call in (users.EraseUser, users.GetErasure):
            self.assert_denied(call, user_id=self.owner)
        for call, fields in ((users.ListUsers, {}), (users.BatchGetUsers, {"user_ids": [1]}),
                             (users.SetPassword, {"user_id": self.member, "password": "new"}),
                             (users.CreateUser, {"login": "x"}),
                             (users.VerifyPassword, {"login": "x", "password": "y"})):
            with self.assert_error(DENIED, reason="NOT_FOR_USERS"):
                call(**fields)
        self.assert_denied(users.DeleteUser, user_id=self.owner)
        users.DeleteUser(user_id=self.member)

    def test_tasks_are_nobodys(self):
        schedulerd = self.serve("schedulerd")
        token = self.key.token("task.produce task.work admin", act_as=self.member)
        for _, (module, service) in harness.CLIENTS["schedulerd"].items():
            calls = harness.Client(schedulerd.channel, module, service).bearing(token)
            for method in harness.descriptor(module, service).methods:
                with self.subTest(method.name), self.assert_error(DENIED, "NOT_FOR_USERS"):
                    if method.client_streaming:
                        list(calls.stream(method.name, iter([])))
                    else:
                        calls.begin(method.name).result()


if __name__ == "__main__":
    unittest.main()
