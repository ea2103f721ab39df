"""Lists of users and chats: filters, limits, pages while rows arrive."""

import unittest

import harness

FOUR_BYTES = "\U0001d11e"
MIB = 1 << 20


class ListCase(harness.SystemTest, harness.People):
    runs = ("chatd",)

    def check_limits(self, method, items, expected_all, **request):
        """0 means 20, more than 100 means 100; `expected_all` has more than 100 rows."""
        for limit, expected in ((0, 20), (7, 7), (100, 100), (101, 100), (2**31 - 1, 100)):
            reply = method(limit=limit, **request)
            self.assertEqual(list(getattr(reply, items)), expected_all[:expected])
            self.assertTrue(reply.next_page_token)
        reply = method(limit=10, offset=len(expected_all) - 4, **request)
        self.assertEqual(list(getattr(reply, items)), expected_all[-4:])
        self.assertFalse(reply.next_page_token)
        for offset in (len(expected_all), 10**6, 2**63 - 1):
            reply = method(offset=offset, **request)
            self.assertEqual((list(getattr(reply, items)), reply.next_page_token), ([], ""))

    def page_while_rows_arrive(self, method, items, identity, arrive, **request):
        """Pages in threes; between pages `arrive` adds rows. Returns the identities seen."""
        seen, token = [], ""
        while True:
            reply = method(limit=3, page_token=token, **request)
            seen += [identity(item) for item in getattr(reply, items)]
            token = reply.next_page_token
            if not token:
                break
            arrive(len(seen))
        self.assertEqual(len(seen), len(set(seen)), "a row came twice")
        return seen


class UserListTest(ListCase):
    def test_users_are_listed_by_id(self):
        users = [self.new_user() for _ in range(105)]
        self.check_limits(self.users.ListUsers, "users", users)
        pages = self.all_pages(self.users.ListUsers, "users", limit=50)
        self.assertEqual([len(page) for page in pages], [50, 50, 5])
        self.assertEqual(sum(pages, []), users)


class UserFilterTest(ListCase):
    def test_users_are_found_by_status(self):
        users = [self.new_user() for _ in range(6)]
        blocked = [self.block(user) for user in users[::2]]
        self.assertEqual(
            list(self.users.ListUsers(status="USER_STATUS_BLOCKED").users), blocked)
        pages = self.all_pages(self.users.ListUsers, "users", limit=1,
                               status="USER_STATUS_BLOCKED")
        self.assertEqual(sum(pages, []), blocked)
        active = self.users.ListUsers(status="USER_STATUS_ACTIVE", limit=100).users
        self.assertFalse(set(user.id for user in active) & set(user.id for user in blocked))

    def test_a_prefix_is_compared_as_logins_are_and_is_no_pattern(self):
        for login in ("Prefix c", "PREFIX a", "prefix b", "pre_fix", "pre%fix", "\uff50refix d"):
            self.users.CreateUser(login=login)
        logins = [user.login for user in self.users.ListUsers(login_prefix="PreFIX").users]
        self.assertEqual(logins, ["PREFIX a", "prefix b", "Prefix c", "\uff50refix d"])
        for prefix, expected in (("pre_", ["pre_fix"]), ("pre%", ["pre%fix"]), ("pre\\", [])):
            found = self.users.ListUsers(login_prefix=prefix).users
            self.assertEqual([user.login for user in found], expected)

    def test_pages_by_login_neither_skip_nor_repeat_while_users_arrive(self):
        there = [f"page {chr(ord('b') + i)}" for i in range(20)]
        for login in there:
            self.users.CreateUser(login=login)

        def arrive(seen):
            for login in (f"page a{seen}", f"page h{seen}", f"page z{seen}"):
                self.users.CreateUser(login=login)

        seen = self.page_while_rows_arrive(
            self.users.ListUsers, "users", lambda user: user.login, arrive, login_prefix="page ")
        self.assertEqual([login for login in seen if login in there], there)
        self.assertEqual(seen, sorted(seen))

    def test_a_page_token_outlives_the_row_it_stands_on(self):
        users = [self.new_user(login=f"vanish {i}") for i in range(5)]
        reply = self.users.ListUsers(login_prefix="vanish", limit=2)
        self.users.DeleteUser(user_id=users[1].id)
        rest = self.users.ListUsers(login_prefix="vanish", page_token=reply.next_page_token)
        self.assertEqual(list(rest.users), users[2:])


class ChatListTest(ListCase):
    def test_chats_are_listed_by_id_and_found_by_type(self):
        owner = self.new_user()
        types = ("CHAT_TYPE_PRIVATE", "CHAT_TYPE_GROUP", "CHAT_TYPE_CHANNEL")
        chats = [self.new_chat(owner, chat_type=types[i % 3]) for i in range(105)]
        self.check_limits(self.chats.ListChats, "chats", chats)
        self.check_limits(self.chats.ListUserChats, "chats", chats, user_id=owner.id)
        for number, name in enumerate(types):
            pages = self.all_pages(self.chats.ListChats, "chats", limit=10, chat_type=name)
            self.assertEqual(sum(pages, []), chats[number::3])

        def arrive(_):
            self.new_chat(owner)

        for method, request in ((self.chats.ListChats, {}),
                                (self.chats.ListUserChats, {"user_id": owner.id})):
            before = [chat.id for chat in sum(self.all_pages(method, "chats", **request), [])]
            stop = len(before) // 2  # a list by id that grows at its end must still come to one
            seen = self.page_while_rows_arrive(
                method, "chats", lambda chat: chat.id,
                lambda count: arrive(count) if count < stop else None, **request)
            self.assertEqual(seen[:len(before)], before)
            self.assertGreater(len(seen), len(before))


class BigChatTest(ListCase):
    """120 users with the longest texts there may be, in chats of more than 100."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.everybody = harness.in_threads(4, lambda thread: [
            cls.users.CreateUser(login=f"{thread}-{i:03}" + FOUR_BYTES * 250, name=FOUR_BYTES * 256)
            for i in range(30)])
        cls.everybody = sorted(sum(cls.everybody, []), key=lambda user: user.id)

    def big_chat(self):
        return self.chats.CreateChat(
            creator_user_id=self.everybody[0].id, title=FOUR_BYTES * 256,
            description=FOUR_BYTES * 512, chat_type="CHAT_TYPE_GROUP",
            user_ids=[user.id for user in self.everybody])

    def test_a_chat_shows_its_first_hundred_members_and_lists_them_all(self):
        chat = self.big_chat()
        self.assertEqual((chat.user_count, list(chat.users)), (120, self.everybody[:100]))
        members = self.chats.ListChatUsers(chat_id=chat.id, limit=200).members
        self.assertEqual([member.user for member in members], self.everybody[:100])
        pages = self.all_pages(self.chats.ListChatUsers, "members", chat_id=chat.id, limit=50)
        self.assertEqual([member.user for member in sum(pages, [])], self.everybody)
        self.assertEqual([member.user_id for member in sum(pages, [])],
                         [user.id for user in self.everybody])
        rest = self.chats.ListChatUsers(chat_id=chat.id, offset=117).members
        self.assertEqual([member.user for member in rest], self.everybody[117:])

    def test_members_neither_skip_nor_repeat_while_people_come_and_go(self):
        chat = self.new_chat(self.everybody[10], self.everybody[20:50])
        there = [self.everybody[10].id] + [user.id for user in self.everybody[20:50]]
        comers = iter(self.everybody[:10] + self.everybody[60:70])

        def arrive(_):
            newcomer = next(comers, None)
            if newcomer is not None:
                self.chats.AddUserToChat(chat_id=chat.id, user_id=newcomer.id)

        seen = self.page_while_rows_arrive(self.chats.ListChatUsers, "members",
                                           lambda member: member.user_id, arrive, chat_id=chat.id)
        self.assertEqual([user_id for user_id in seen if user_id in there], there)

    def test_a_reply_of_many_big_chats_stays_below_what_a_client_takes(self):
        chats = [self.big_chat().id for _ in range(24)]
        everybody = self.everybody[0].id
        for reply in (self.chats.ListChats(limit=100),
                      self.chats.ListUserChats(user_id=everybody, limit=100),
                      self.chats.BatchGetChats(chat_ids=chats)):
            self.assertLessEqual(reply.ByteSize(), 3 * MIB + MIB // 4)
            shown = {chat.id: len(chat.users) for chat in reply.chats}
            self.assertLessEqual(set(chats), set(shown))
            counts = [shown[chat] for chat in chats]
            self.assertEqual(counts, sorted(counts, reverse=True))
            self.assertEqual(set(counts), {100, 0})
            self.assertEqual({chat.user_count for chat in reply.chats if chat.id in chats}, {120})


if __name__ == "__main__":
    unittest.main()
