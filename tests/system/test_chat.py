"""Chats and memberships."""

import unittest

import grpc

import harness

REUSED = ("ALREADY_EXISTS", "REQUEST_ID_REUSED")
NO_CHAT = ("NOT_FOUND", "CHAT_NOT_FOUND")
NO_USER = ("NOT_FOUND", "USER_NOT_FOUND")
BLOCKED = ("FAILED_PRECONDITION", "USER_BLOCKED")
NO_SUCH_ID = 999_999_999
OWNER, MEMBER = 1, 3


class ChatCase(harness.SystemTest, harness.People):
    runs = ("chatd",)

    def memberships(self, chat):
        """user id -> role, as the database has it; a second row of one user would show."""
        rows = self.database.rows(
            "SELECT user_id, role FROM chat_user WHERE chat_id = %s", chat.id)
        self.assertEqual(len(rows), len(dict(rows)))
        return dict(rows)

    def chat_count(self, title):
        return self.database.value("SELECT count(*) FROM chats WHERE title = %s", title)

    def roles(self, chat):
        members = self.chats.ListChatUsers(chat_id=chat.id, limit=100).members
        return {member.user_id: member.role for member in members}


class CreateChatTest(ChatCase):
    def test_the_creator_owns_the_chat_and_the_others_are_members(self):
        owner, one, two = (self.new_user() for _ in range(3))
        chat = self.chats.CreateChat(
            creator_user_id=owner.id, title="Covent Garden", description="under the portico",
            chat_type="CHAT_TYPE_PRIVATE", user_ids=[two.id, one.id, two.id, owner.id])
        self.assertEqual(
            (chat.title, chat.description, chat.chat_type, chat.creator_user_id, chat.user_count),
            ("Covent Garden", "under the portico", 1, owner.id, 3))
        self.assertEqual(list(chat.users), [owner, one, two])
        self.assertTrue(chat.etag)
        self.assertEqual(chat.create_time, chat.update_time)
        self.assertEqual(self.chats.GetChat(chat_id=chat.id), chat)
        self.assertEqual(self.roles(chat), {owner.id: OWNER, one.id: MEMBER, two.id: MEMBER})

    def test_an_absent_description_stays_absent(self):
        owner = self.new_user()
        self.assertFalse(self.new_chat(owner).HasField("description"))
        self.assertTrue(self.new_chat(owner, description="").HasField("description"))

    def test_unknown_users_are_named_and_nothing_is_written(self):
        owner = self.new_user()
        unknown = [NO_SUCH_ID, NO_SUCH_ID + 7]
        with self.assert_error(*NO_USER) as failure:
            self.chats.CreateChat(creator_user_id=owner.id, title="unknown members",
                                  chat_type="CHAT_TYPE_GROUP", request_id="unknown-1",
                                  user_ids=[owner.id, *unknown])
        named = " ".join(failure.metadata.values())
        for user_id in unknown:
            self.assertIn(str(user_id), named)
        with self.assert_error(*NO_USER) as failure:
            self.chats.CreateChat(creator_user_id=NO_SUCH_ID, title="unknown creator",
                                  chat_type="CHAT_TYPE_GROUP")
        self.assertIn(str(NO_SUCH_ID), " ".join(failure.metadata.values()))
        self.assertEqual(self.chat_count("unknown members") + self.chat_count("unknown creator"), 0)
        self.new_chat(owner, title="the id is still free", request_id="unknown-1")

    def test_a_thousand_unknown_users_still_fit_into_an_error(self):
        owner = self.new_user()
        with self.assert_error(*NO_USER):
            self.chats.CreateChat(creator_user_id=owner.id, title="many",
                                  chat_type="CHAT_TYPE_GROUP",
                                  user_ids=range(NO_SUCH_ID, NO_SUCH_ID + 1000))
        with self.assert_error("INVALID_ARGUMENT", field="user_ids"):
            self.chats.CreateChat(creator_user_id=owner.id, title="too many",
                                  chat_type="CHAT_TYPE_GROUP",
                                  user_ids=range(NO_SUCH_ID, NO_SUCH_ID + 1001))

    def test_a_blocked_user_neither_creates_nor_joins(self):
        owner, blocked = self.new_user(), self.new_user()
        self.block(blocked)
        for creator, members in ((blocked, []), (owner, [blocked])):
            with self.assert_error(*BLOCKED):
                self.new_chat(creator, members, title="blocked")
        self.assertEqual(self.chat_count("blocked"), 0)
        chat = self.new_chat(owner)
        with self.assert_error(*BLOCKED):
            self.chats.AddUserToChat(chat_id=chat.id, user_id=blocked.id)
        self.assertEqual(list(self.memberships(chat)), [owner.id])

    def test_a_member_who_is_blocked_later_stays_a_member(self):
        owner, member = self.new_user(), self.new_user()
        chat = self.new_chat(owner, [member])
        self.block(member)
        self.assertEqual(self.chats.GetChat(chat_id=chat.id).user_count, 2)

    def test_a_request_id_answers_with_the_first_chat_for_ever(self):
        owner, other, member = (self.new_user() for _ in range(3))
        first = self.new_chat(owner, [member], title="once", request_id="c-1")
        self.assertEqual(self.new_chat(owner, [member], title="once", request_id="c-1"), first)
        for difference in ({"title": "other"}, {"description": "now one"},
                           {"chat_type": "CHAT_TYPE_CHANNEL"}):
            with self.assert_error(*REUSED):
                self.new_chat(owner, [member], **{"title": "once", "request_id": "c-1"}
                              | difference)
        with self.assert_error(*REUSED):
            self.new_chat(owner, [other], title="once", request_id="c-1")
        self.assertEqual(self.chat_count("once"), 1)
        theirs = self.new_chat(other, [member], title="once", request_id="c-1")
        self.assertNotEqual(theirs.id, first.id)

        changed = self.chats.UpdateChat(chat={"id": first.id, "title": "once more"})
        self.assertEqual(self.new_chat(owner, [member], title="once", request_id="c-1"), changed)
        self.chats.DeleteChat(chat_id=first.id)
        with self.assert_error(*NO_CHAT):
            self.new_chat(owner, [member], title="once", request_id="c-1")
        self.assertEqual(self.chat_count("once"), 1)

    def test_eight_twins_create_one_chat(self):
        owner = self.new_user()
        chats = harness.in_threads(
            8, lambda _: self.new_chat(owner, title="twins", request_id="twins-1"))
        self.assertEqual({chat.id for chat in chats}, {chats[0].id})
        self.assertEqual(self.chat_count("twins"), 1)


class MembershipTest(ChatCase):
    def add(self, chat, user, **fields):
        return self.chats.AddUserToChat(chat_id=chat.id, user_id=user.id, **fields)

    def remove(self, chat, user):
        return self.chats.RemoveUserFromChat(chat_id=chat.id, user_id=user.id)

    def test_added_twice_is_one_membership_with_the_first_role(self):
        owner, user = self.new_user(), self.new_user()
        chat = self.new_chat(owner)
        once = self.add(chat, user, role="CHAT_ROLE_ADMIN")
        self.assertEqual((once.user_count, list(once.users)), (2, [owner, user]))
        self.assertEqual(self.add(chat, user, role="CHAT_ROLE_MEMBER"), once)
        self.assertEqual(self.add(chat, user), once)
        self.assertEqual(self.memberships(chat), {owner.id: "owner", user.id: "admin"})

    def test_a_new_member_is_a_plain_member_unless_said_otherwise(self):
        owner, user, second_owner = (self.new_user() for _ in range(3))
        chat = self.new_chat(owner)
        self.add(chat, user)
        self.add(chat, second_owner, role="CHAT_ROLE_OWNER")
        self.assertEqual(self.roles(chat),
                         {owner.id: OWNER, user.id: MEMBER, second_owner.id: OWNER})

    def test_eight_who_add_one_user_make_one_membership(self):
        owner, user = self.new_user(), self.new_user()
        chat = self.new_chat(owner)
        replies = harness.in_threads(8, lambda _: self.add(chat, user))
        self.assertEqual({reply.user_count for reply in replies}, {2})
        self.assertEqual(self.memberships(chat), {owner.id: "owner", user.id: "member"})

    def test_a_replay_does_not_add_again_who_was_removed(self):
        owner, user, other = (self.new_user() for _ in range(3))
        chat = self.new_chat(owner)
        self.add(chat, user, request_id="a-1")
        self.assertEqual(self.add(chat, user, request_id="a-1").user_count, 2)
        with self.assert_error(*REUSED):
            self.add(chat, other, request_id="a-1")
        with self.assert_error(*REUSED):
            self.add(chat, user, role="CHAT_ROLE_ADMIN", request_id="a-1")
        self.remove(chat, user)
        self.assertEqual(self.add(chat, user, request_id="a-1").user_count, 1)
        self.assertEqual(self.memberships(chat), {owner.id: "owner"})
        self.assertEqual(self.add(self.new_chat(owner), other, request_id="a-1").user_count, 2)

    def test_removing_is_idempotent_and_spares_the_last_owner(self):
        owner, user, heir = (self.new_user() for _ in range(3))
        chat = self.new_chat(owner, [user])
        self.assertEqual(list(self.remove(chat, user).users), [owner])
        self.assertEqual(self.remove(chat, user).user_count, 1)
        with self.assert_error("FAILED_PRECONDITION", "LAST_OWNER"):
            self.remove(chat, owner)
        self.add(chat, heir, role="CHAT_ROLE_ADMIN")
        with self.assert_error("FAILED_PRECONDITION", "LAST_OWNER"):
            self.remove(chat, owner)
        self.remove(chat, heir)
        self.add(chat, heir, role="CHAT_ROLE_OWNER")
        self.assertEqual(list(self.remove(chat, owner).users), [heir])

    def test_of_two_owners_removed_at_once_one_stays(self):
        owners = [self.new_user() for _ in range(4)]
        for _ in range(10):
            chat = self.new_chat(owners[0])
            for owner in owners[1:]:
                self.add(chat, owner, role="CHAT_ROLE_OWNER")

            def leave(index, chat=chat):
                try:
                    self.remove(chat, owners[index])
                    return "OK"
                except grpc.RpcError as error:
                    return harness.Failure().read(error).reason

            answers = harness.in_threads(4, leave)
            self.assertEqual(sorted(answers), ["LAST_OWNER", "OK", "OK", "OK"])
            self.assertEqual(list(self.memberships(chat).values()), ["owner"])
            self.assertEqual(self.chats.GetChat(chat_id=chat.id).user_count, 1)

    def test_the_user_count_is_exact_after_much_coming_and_going(self):
        owner, people = self.new_user(), [self.new_user() for _ in range(8)]
        chat = self.new_chat(owner)

        def come_and_go(index):
            for _ in range(5):
                self.add(chat, people[index])
                self.add(chat, people[(index + 1) % 8])
                self.remove(chat, people[index])

        harness.in_threads(8, come_and_go)
        self.assertEqual(self.chats.GetChat(chat_id=chat.id).user_count,
                         len(self.memberships(chat)))

    def test_unknown_ids_are_told_apart(self):
        owner = self.new_user()
        chat = self.new_chat(owner)
        with self.assert_error(*NO_CHAT):
            self.chats.AddUserToChat(chat_id=NO_SUCH_ID, user_id=owner.id)
        with self.assert_error(*NO_USER):
            self.chats.AddUserToChat(chat_id=chat.id, user_id=NO_SUCH_ID)
        for call in (lambda: self.chats.RemoveUserFromChat(chat_id=NO_SUCH_ID, user_id=owner.id),
                     lambda: self.chats.GetChat(chat_id=NO_SUCH_ID),
                     lambda: self.chats.UpdateChat(chat={"id": NO_SUCH_ID, "title": "x"}),
                     lambda: self.chats.DeleteChat(chat_id=NO_SUCH_ID),
                     lambda: self.chats.ListChatUsers(chat_id=NO_SUCH_ID)):
            with self.assert_error(*NO_CHAT) as failure:
                call()
            self.assertIn(str(NO_SUCH_ID), failure.metadata.values())
        with self.assert_error(*NO_USER):
            self.chats.ListUserChats(user_id=NO_SUCH_ID)
        self.assertEqual(self.chats.RemoveUserFromChat(chat_id=chat.id, user_id=NO_SUCH_ID), chat)


class ChangeChatTest(ChatCase):
    runs = ("chatd", "messaged")

    def test_the_mask_says_what_changes(self):
        chat = self.new_chat(self.new_user(), title="before", description="old")

        def update(paths, **fields):
            return self.chats.UpdateChat(chat={"id": chat.id, **fields},
                                         update_mask={"paths": paths})

        changed = self.chats.UpdateChat(chat={"id": chat.id, "title": "absent mask"})
        self.assertEqual((changed.title, changed.description), ("absent mask", "old"))
        changed = update(["description"], title="not this", description="new")
        self.assertEqual((changed.title, changed.description), ("absent mask", "new"))
        self.assertFalse(update(["description"]).HasField("description"))
        changed = update(["*"], title="all", chat_type="CHAT_TYPE_CHANNEL")
        self.assertEqual((changed.title, changed.chat_type), ("all", 3))
        self.assertFalse(changed.HasField("description"))
        for path in ("users", "creator_user_id", "no_such_field"):
            with self.assert_error("INVALID_ARGUMENT", field="update_mask"):
                update([path], title="x")
        with self.assert_error("INVALID_ARGUMENT", field="chat.title"):
            update(["title"])
        self.assertEqual(self.chats.GetChat(chat_id=chat.id), changed)

    def test_an_old_etag_aborts_and_a_membership_does_not_change_the_etag(self):
        chat = self.new_chat(self.new_user())
        joined = self.chats.AddUserToChat(chat_id=chat.id, user_id=self.new_user().id)
        self.assertEqual(joined.etag, chat.etag)
        newer = self.chats.UpdateChat(chat={"id": chat.id, "title": "two", "etag": chat.etag})
        self.assertNotEqual(newer.etag, chat.etag)
        with self.assert_error("ABORTED", "ETAG_MISMATCH"):
            self.chats.UpdateChat(chat={"id": chat.id, "title": "three", "etag": chat.etag})
        self.assertEqual(self.chats.GetChat(chat_id=chat.id), newer)

    def test_a_deleted_chat_takes_memberships_and_messages_along(self):
        owner = self.new_user()
        chat, other = self.new_chat(owner), self.new_chat(owner)
        for target in (chat, chat, other):
            self.messages.SendMessage(chat_id=target.id, user_id=owner.id, text="gone?")
        self.chats.DeleteChat(chat_id=chat.id)
        with self.assert_error(*NO_CHAT):
            self.chats.DeleteChat(chat_id=chat.id)
        with self.assert_error(*NO_CHAT):
            self.messages.ListMessages(chat_id=chat.id)
        self.assertEqual(self.memberships(chat), {})
        self.assertEqual(
            self.database.rows("SELECT chat_id FROM messages WHERE user_id = %s", owner.id),
            [(other.id,)])
        self.assertGreater(self.new_chat(owner).id, other.id)

    def test_a_batch_keeps_the_order_of_the_ids(self):
        owner = self.new_user()
        one, two = self.new_chat(owner), self.new_chat(owner)
        reply = self.chats.BatchGetChats(chat_ids=[two.id, NO_SUCH_ID, one.id, two.id])
        self.assertEqual(list(reply.chats), [two, one])
        for ids in ([], range(1, 102), [0], [-1]):
            with self.assert_error("INVALID_ARGUMENT", field="chat_ids"):
                self.chats.BatchGetChats(chat_ids=ids)


if __name__ == "__main__":
    unittest.main()
