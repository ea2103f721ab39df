"""SearchMessages: who finds what, in which order and language."""

import unittest

import harness
import programs

FOUR_BYTES = "\U0001f339"
NO_SUCH_ID = 999_999_999
ORDERS = ("SEARCH_ORDER_NEWEST", "SEARCH_ORDER_RELEVANCE")


class SearchCase(harness.SystemTest, harness.People):
    runs = ("chatd", "messaged")

    def setUp(self):
        self.owner, self.member = self.new_user(), self.new_user()
        self.chat = self.new_chat(self.owner, [self.member])

    def send(self, text, user=None, chat=None):
        return self.messages.SendMessage(chat_id=(chat or self.chat).id,
                                         user_id=(user or self.owner).id, text=text)

    def search(self, query, user=None, **fields):
        return self.messages.SearchMessages(query=query, user_id=(user or self.owner).id, **fields)

    def texts(self, query, user=None, **fields):
        return [message.text for message in self.search(query, user, **fields).messages]


class FindTest(SearchCase):
    def test_words_phrases_alternatives_and_exclusions(self):
        for text in ("tea and cake", "cake and tea", "tea or wine"):
            self.send(text)
        self.assertEqual(self.texts("Tea CAKE"), ["cake and tea", "tea and cake"])
        self.assertEqual(self.texts('"tea and"'), ["tea and cake"])
        self.assertEqual(self.texts("wine or cake"), ["tea or wine", "cake and tea",
                                                      "tea and cake"])
        self.assertEqual(self.texts("tea -wine"), ["cake and tea", "tea and cake"])
        self.assertEqual(self.texts("-cake"), ["tea or wine"])
        self.assertEqual(self.texts("beer"), [])
        self.assertEqual(self.search("tea").messages[0],
                         self.messages.GetMessage(chat_id=self.chat.id, seq=3))

    def test_what_was_sent_edited_and_deleted_shows_at_once(self):
        message = self.send("the old words")
        batch = self.messages.BatchSendMessages(requests=[
            {"chat_id": self.chat.id, "user_id": self.owner.id, "text": "words of a batch"}])
        self.assertEqual(self.texts("words"), ["words of a batch", "the old words"])
        self.messages.UpdateMessage(message={"id": message.id, "text": "the new ones"},
                                    user_id=self.owner.id)
        self.assertEqual(self.texts("old"), [])
        self.assertEqual(self.texts("new"), ["the new ones"])
        for deleted in (message, batch.results[0].message):
            self.messages.DeleteMessage(message_id=deleted.id, user_id=self.owner.id)
        for query in ("old", "new", "words", "-nothing"):
            for order in ORDERS:
                self.assertEqual(self.texts(query, order=order), [])

    def test_characters_of_any_size_are_words(self):
        letters = "\U00020000\U00020001"
        self.send(f"{letters} and {FOUR_BYTES}")
        self.send("\u00fcber Gr\u00f6\u00dfe")
        self.assertEqual(self.texts(letters), [f"{letters} and {FOUR_BYTES}"])
        self.assertEqual(self.texts("\u00dcBER gr\u00f6\u00dfe"), ["\u00fcber Gr\u00f6\u00dfe"])
        self.assertEqual(self.texts(FOUR_BYTES), [])  # no word
        self.assertEqual(self.texts(f"and {FOUR_BYTES}"), [f"{letters} and {FOUR_BYTES}"])
        self.send(FOUR_BYTES * 1024)
        self.send(letters * 512)
        self.assertEqual(self.texts(letters * 512), [])  # too long to be kept as one word

    def test_a_query_has_1_to_1024_characters(self):
        for query in ("x", "x" * 1024, FOUR_BYTES * 1024, "-" * 1024, '"' * 1024, "( | & ! :* <->"):
            for order in ORDERS:
                self.assertEqual(self.texts(query, order=order), [])
        for query in ("", "x" * 1025, "a\0b"):
            with self.assert_error("INVALID_ARGUMENT", field="query"):
                self.search(query)
        with self.assert_error("INVALID_ARGUMENT", field="user_id"):
            self.messages.SearchMessages(query="x")
        with self.assert_error("INVALID_ARGUMENT", field="order"):
            self.search("x", order=7)


class ScopeTest(SearchCase):
    def test_nothing_shows_of_chats_that_one_does_not_belong_to(self):
        both, hers = self.chat, self.new_chat(self.owner)
        self.send("secret of both", chat=both)
        self.send("secret of hers", chat=hers)
        for order in ORDERS:
            for query in ("secret", "-nothing", "secret or nothing"):
                self.assertEqual(self.texts(query, order=order),
                                 ["secret of hers", "secret of both"])
                self.assertEqual(self.texts(query, self.member, order=order), ["secret of both"])
                self.assertEqual(self.texts(query, self.new_user(), order=order), [])
                self.assertEqual(self.texts(query, chat_id=both.id, order=order),
                                 ["secret of both"])
                with self.assert_error("PERMISSION_DENIED", "NOT_A_MEMBER"):
                    self.search(query, self.member, chat_id=hers.id, order=order)
        self.chats.RemoveUserFromChat(chat_id=both.id, user_id=self.member.id)
        self.assertEqual(self.texts("secret", self.member), [])
        with self.assert_error("PERMISSION_DENIED", "NOT_A_MEMBER"):
            self.search("secret", self.member, chat_id=both.id)
        self.chats.AddUserToChat(chat_id=both.id, user_id=self.member.id)
        self.assertEqual(self.texts("secret", self.member), ["secret of both"])

    def test_a_token_opens_no_other_chat(self):
        for i in range(3):
            self.send(f"secret {i}")
        token = self.search("secret", limit=1).next_page_token
        with self.assert_error("INVALID_ARGUMENT", field="page_token"):
            self.search("secret", self.member, limit=1, page_token=token)
        self.chats.RemoveUserFromChat(chat_id=self.chat.id, user_id=self.member.id)
        token = self.search("secret", limit=1).next_page_token
        with self.assert_error("INVALID_ARGUMENT", field="page_token"):
            self.search("secret", self.member, page_token=token)

    def test_unknown_users_and_chats_are_told_apart(self):
        stranger = self.new_user()
        for query in ("secret", "-secret", "!"):
            with self.assert_error("NOT_FOUND", "USER_NOT_FOUND"):
                self.messages.SearchMessages(query=query, user_id=NO_SUCH_ID)
            with self.assert_error("NOT_FOUND", "CHAT_NOT_FOUND"):
                self.search(query, chat_id=NO_SUCH_ID)
            with self.assert_error("PERMISSION_DENIED", "NOT_A_MEMBER"):
                self.search(query, stranger, chat_id=self.chat.id)


class PageTest(SearchCase):
    def test_pages_keep_their_place_in_both_orders(self):
        chats = [self.chat, self.new_chat(self.owner), self.new_chat(self.owner)]
        for i in range(30):
            self.send("tea " * (1 + i % 3) + str(i), chat=chats[i % 2])
        # Some with one commit, and so with one time.
        self.messages.BatchSendMessages(requests=[
            {"chat_id": chats[i % 3].id, "user_id": self.owner.id, "text": f"tea {i}"}
            for i in range(20)])
        for order in ORDERS:
            whole = list(self.search("tea", limit=100, order=order).messages)
            self.assertEqual(len(whole), 50)
            for limit in (1, 7, 50, 100):
                pages = self.all_pages(self.messages.SearchMessages, "messages", query="tea",
                                       user_id=self.owner.id, limit=limit, order=order)
                self.assertEqual(sum(pages, []), whole)
            self.assertEqual(list(self.search("tea", offset=45, order=order).messages),
                             whole[45:])
            self.assertEqual(len(self.search("tea", order=order).messages), 20)
        self.assertEqual(self.texts("tea", offset=2**63 - 1), [])

    def test_what_arrives_or_goes_meanwhile_moves_nothing_else(self):
        sent = [self.send(f"tea {i}") for i in range(9)]
        first = self.search("tea", limit=3)
        self.send("tea 9")
        self.messages.DeleteMessage(message_id=sent[6].id, user_id=self.owner.id)
        self.messages.DeleteMessage(message_id=sent[4].id, user_id=self.owner.id)
        second = self.search("tea", limit=3, page_token=first.next_page_token)
        self.assertEqual([m.text for m in first.messages], ["tea 8", "tea 7", "tea 6"])
        self.assertEqual([m.text for m in second.messages], ["tea 5", "tea 3", "tea 2"])


class LanguageTest(SearchCase):
    def test_german_stems(self):
        german = self.start("messaged", "--search-language", "german")
        german.messages.SendMessage(chat_id=self.chat.id, user_id=self.owner.id,
                                    text="Die H\u00e4user standen am Fluss")

        def find(query):
            return len(german.messages.SearchMessages(query=query, user_id=self.owner.id).messages)
        self.assertEqual([find("haus"), find("fl\u00fcsse"), find("h\u00fctte")], [1, 1, 0])
        self.assertEqual([find("die"), find("die am")], [0, 0])  # too common
        edited = german.messages.UpdateMessage(
            message={"chat_id": self.chat.id, "seq": 1, "text": "Die B\u00e4ume"},
            user_id=self.owner.id)
        self.assertEqual(edited.revision, 2)
        self.assertEqual([find("haus"), find("baum")], [0, 1])

    def test_an_unknown_language_keeps_the_server_from_starting(self):
        for language, code, text in (("klingon", 1, "klingon"), ("Not a name", 2, "search-language")):
            ended = programs.run_binary("messaged", "--listen", "127.0.0.1:0", "--search-language",
                                        language, url=self.database.url, check=False)
            self.assertEqual(ended.returncode, code, ended.stderr)
            self.assertIn(text, ended.stdout + ended.stderr)
        ended = programs.run_binary("messaged", "--listen", "127.0.0.1:0", url=self.database.url,
                                    env={"PARLEY_SEARCH_LANGUAGE": "klingon"}, check=False)
        self.assertEqual(ended.returncode, 1)


if __name__ == "__main__":
    unittest.main()
