"""Random calls from many clients, every answer compared with what oracle.py says it must be.

PARLEY_TEST_SEED repeats a run (the chats that several clients share excepted: who comes first there
is up to the machine). PARLEY_TEST_OPERATIONS sets how many calls each client makes.
"""

import contextlib
import os
import random
import threading
import time
import traceback
import unittest

import grpc

import harness
import oracle
from oracle import time_of

CLIENTS = 6
OWN_CHATS = 3  # of each client
SHARED_CHATS = 3
OPERATIONS = int(os.environ.get("PARLEY_TEST_OPERATIONS", "1500"))
VOCABULARY = [f"word{i}" for i in range(12)]
NO_SUCH_ID = 999_999_999


class Client:
    """One thread: its chats, its users, its random numbers."""

    def __init__(self, test, number, seed):
        self.test = test
        self.random = random.Random(f"{seed} {number}")
        self.number = number
        self.own = test.own_chats[number]
        self.chats = self.own + test.shared_chats
        self.calls = 0

    # ---- Chances

    def chance(self, probability):
        return self.random.random() < probability

    def api(self):
        return self.random.choice(self.test.services).messages

    def users_of(self, chat):
        return self.test.shared_users if chat in self.test.shared_chats \
            else self.test.own_users[self.number]

    def some_user(self, chat):
        if self.chance(0.04):
            return self.test.stranger
        if self.chance(0.04):
            return self.test.blocked
        return self.random.choice(self.users_of(chat))

    def some_text(self):
        if self.chance(0.02):
            return self.random.choice(("x", "\U0001f339")) * 1024
        text = " ".join(self.random.choices(VOCABULARY, k=self.random.randint(1, 6)))
        return text + self.random.choice(("", "", " \U0001f339", " 'quoted' \\ {\"}"))

    def some_seq(self, chat):
        """A seq of the chat, now and then one that is not there; recent ones more often."""
        if self.chance(0.05) or chat.last_seq == 0:
            return self.random.choice((chat.last_seq + 1000, chat.last_seq + 1001, 2**63 - 1))
        if self.chance(0.5):
            return max(1, chat.last_seq - self.random.randint(0, 10))
        return self.random.randint(1, chat.last_seq)

    def name(self, chat, seq, own=""):
        """Names a message by its id or its place."""
        message = chat.message(seq)
        if message and self.chance(0.5):
            return {own or "message_id": message.id}
        if seq > chat.last_seq and self.chance(0.3):
            return {own or "message_id": NO_SUCH_ID}
        return {"chat_id": chat.id, "seq": seq}

    @contextlib.contextmanager
    def locked(self, chats):
        with contextlib.ExitStack() as stack:
            for chat in sorted(set(chats), key=lambda chat: chat.id):
                stack.enter_context(chat.lock)
            yield

    # ---- Comparing

    def outcome(self, call):
        """What a call answers, or (code, reason)."""
        self.calls += 1
        try:
            return call()
        except grpc.RpcError as error:
            failure = harness.Failure().read(error)
            return failure.code, failure.reason

    def compare(self, expected, answer):
        if isinstance(expected, (oracle.Wrote, oracle.Changed)):
            self.test.assertNotIsInstance(answer, tuple, answer)
            expected.check(self.test, answer)
        else:
            self.test.assertEqual(answer, expected)

    def compare_list(self, expected, answer):
        self.test.assertNotIsInstance(answer, tuple, answer)
        self.test.assertEqual([(m.chat_id, m.seq) for m in answer.messages],
                              [(m.chat_id, m.seq) for m in expected])
        self.test.assertEqual(list(answer.messages), expected)

    def compare_pages(self, method, items, limit, expected):
        """Every page is full but the last; together they hold what is expected."""
        token = ""
        while True:
            answer = self.outcome(lambda token=token: method(page_token=token))
            self.test.assertNotIsInstance(answer, tuple, answer)
            rows = list(getattr(answer, items))
            self.test.assertEqual(rows, expected[:limit])
            expected = expected[limit:]
            token = answer.next_page_token
            self.test.assertEqual(bool(token), bool(expected))
            if not token:
                return

    # ---- Operations

    def some_send(self, chat):
        """The fields of a send."""
        user = self.some_user(chat)
        fields = {"chat_id": chat.id, "user_id": user, "text": self.some_text()}
        if self.chance(0.3):
            fields["reply_to_seq"] = self.some_seq(chat)
        mine = [key for key in chat.requests if key[0] == user]
        if mine and self.chance(0.25):
            key = self.random.choice(mine)
            text, reply_to_seq, _ = chat.requests[key]
            fields |= {"request_id": key[1]}
            if self.chance(0.8):
                fields |= {"text": text, "reply_to_seq": reply_to_seq}
        elif self.chance(0.6):
            fields["request_id"] = f"r-{self.number}-{self.random.randint(0, 10**9)}"
        return fields

    def expected_send(self, chat, fields):
        return chat.send(fields["user_id"], fields["text"], fields.get("reply_to_seq", 0),
                         fields.get("request_id", ""),
                         fields["user_id"] == self.test.blocked)

    def send(self):
        chat = self.random.choice(self.chats)
        with chat.lock:
            fields = self.some_send(chat)
            expected = self.expected_send(chat, fields)
            self.compare(expected, self.outcome(lambda: self.api().SendMessage(**fields)))
            if fields.get("request_id") and self.chance(0.2):
                expected = self.expected_send(chat, fields)
                self.compare(expected, self.outcome(lambda: self.api().SendMessage(**fields)))

    def batch_send(self):
        chats = self.random.sample(self.chats, self.random.randint(1, 4))
        with self.locked(chats):
            items = []
            for _ in range(self.random.choice((1, 2, 5, 20, 100))):
                chat = self.random.choice(chats)
                fields = self.some_send(chat)
                twins = [item for item in items if item[0] and item[1].get("request_id")]
                if twins and self.chance(0.1):
                    chat, fields = self.random.choice(twins)
                    fields = dict(fields)
                    if self.chance(0.3):
                        fields["text"] = self.some_text()
                if self.chance(0.08):
                    chat = None
                    fields = fields | self.random.choice((
                        {"text": ""}, {"text": "x" * 1025}, {"user_id": 0}, {"chat_id": -1},
                        {"request_id": "with space"}, {"reply_to_seq": -1},
                        {"chat_id": NO_SUCH_ID}))
                items.append((chat, fields))
            answer = self.outcome(lambda: self.api().BatchSendMessages(
                requests=[fields for _, fields in items]))
            self.test.assertNotIsInstance(answer, tuple, answer)
            self.test.assertEqual(len(answer.results), len(items))
            refused = set()  # request ids whose first message answered one that is not there
            for (chat, fields), result in zip(items, answer.results):
                self.compare_result(chat, fields, result, refused)

    def compare_result(self, chat, fields, result, refused):
        if chat is not None:
            expected = self.expected_send(chat, fields)
        elif fields["chat_id"] == NO_SUCH_ID:
            expected = oracle.CHAT_NOT_FOUND
        else:
            expected = oracle.INVALID
        got = result.message
        if result.WhichOneof("outcome") == "error":
            info = harness.error_details_pb2.ErrorInfo()
            self.test.assertTrue(any(d.Unpack(info) for d in result.error.details), result)
            code = next(c for c in grpc.StatusCode if c.value[0] == result.error.code)
            got = (code.name, info.reason)
            request = (fields["chat_id"], fields["user_id"], fields.get("request_id"))
            if got == oracle.CONTENTION and request in refused:
                return  # "try again", and only then
            if got == oracle.MESSAGE_NOT_FOUND:
                refused.add(request)
        self.compare(expected, got)

    def update(self):
        chat = self.random.choice(self.chats)
        with chat.lock:
            seq = self.some_seq(chat)
            message = chat.message(seq)
            user = message.user_id if message and self.chance(0.85) else self.some_user(chat)
            text = message.text if message and message.text and self.chance(0.1) \
                else self.some_text()
            etag = ""
            if message and self.chance(0.3):
                etag = message.etag
            elif chat.messages and self.chance(0.1):
                etag = self.random.choice(chat.messages).etag
            expected = chat.edit(seq, user, text, etag)
            named = self.name(chat, seq, own="id")
            self.compare(expected, self.outcome(lambda: self.api().UpdateMessage(
                message=named | {"text": text, "etag": etag}, user_id=user)))

    def delete(self):
        chat = self.random.choice(self.chats)
        with chat.lock:
            seq = self.some_seq(chat)
            message = chat.message(seq)
            user = message.user_id if message and self.chance(0.5) else self.some_user(chat)
            expected = chat.delete(seq, user)
            named = self.name(chat, seq)
            self.compare(expected, self.outcome(
                lambda: self.api().DeleteMessage(user_id=user, **named)))

    def some_anchor(self, chat):
        anchor = self.random.choice((None, "before_seq", "after_seq", "before_time"))
        if anchor is None:
            return None, None, {}
        if anchor == "before_time":
            value = int(time.time() * 1_000_000)
            if chat.messages:
                value = time_of(self.random.choice(chat.messages)) + self.random.choice((-1, 0, 1))
            return anchor, value, {anchor: {"seconds": value // 1_000_000,
                                            "nanos": value % 1_000_000 * 1000}}
        value = self.some_seq(chat)
        return anchor, value, {anchor: value}

    def list(self):
        chat = self.random.choice(self.chats)
        with chat.lock:
            anchor, value, fields = self.some_anchor(chat)
            show_deleted = self.chance(0.4)
            limit = self.random.choice((0, 1, 2, 3, 7, 50, 200, 10**6))
            offset = self.random.choice((0, 0, 1, 5, 2**63 - 1,
                                         self.random.randint(0, chat.last_seq + 3)))
            expected = chat.listed(anchor, value, show_deleted)[offset:]
            size = min(limit or 20, 200)
            answer = self.outcome(lambda: self.api().ListMessages(
                chat_id=chat.id, limit=limit, offset=offset, show_deleted=show_deleted, **fields))
            self.compare_list(expected[:size], answer)
            self.test.assertEqual(bool(answer.next_page_token), len(expected) > size)

    def list_around(self):
        chat = self.random.choice(self.chats)
        with chat.lock:
            seq, limit = self.some_seq(chat), self.random.choice((1, 2, 3, 4, 5, 20, 200))
            show_deleted = self.chance(0.4)
            page, rest = chat.around(seq, limit, show_deleted)
            fields = {"chat_id": chat.id, "around_seq": seq, "limit": limit,
                      "show_deleted": show_deleted}
            answer = self.outcome(lambda: self.api().ListMessages(**fields))
            self.compare_list(page, answer)
            self.test.assertEqual(bool(answer.next_page_token), bool(rest))
            if rest:
                token = answer.next_page_token
                answer = self.outcome(lambda: self.api().ListMessages(page_token=token, **fields))
                self.compare_list(rest[:limit], answer)

    def walk(self):
        """All pages while nothing changes."""
        chat = self.random.choice(self.chats)
        with chat.lock:
            anchor, value, fields = self.some_anchor(chat)
            show_deleted = self.chance(0.4)
            expected = chat.listed(anchor, value, show_deleted)
            limit = max(self.random.choice((3, 17, 200)), len(expected) // 8)
            self.compare_pages(
                lambda page_token: self.api().ListMessages(
                    chat_id=chat.id, limit=min(limit, 200), show_deleted=show_deleted,
                    page_token=page_token, **fields),
                "messages", min(limit, 200), expected)

    def walk_while_others_write(self):
        """Pages of a shared chat, nobody held up: nothing repeats, nothing that stayed is missing."""
        chat = self.random.choice(self.test.shared_chats)
        upwards = self.chance(0.5)
        with chat.lock:
            before = {m.seq for m in chat.visible(False)}
            limit = max(5, chat.last_seq // 6)
        fields = {"after_seq": 0} if upwards else {}
        seen, token = [], ""
        for _ in range(50):
            answer = self.outcome(lambda token=token: self.api().ListMessages(
                chat_id=chat.id, limit=min(limit, 200), page_token=token, **fields))
            self.test.assertNotIsInstance(answer, tuple, answer)
            seen += [m.seq for m in answer.messages]
            token = answer.next_page_token
            if not token:
                break
        self.test.assertEqual(seen, sorted(set(seen), reverse=not upwards))
        if not token:
            with chat.lock:
                stayed = before & {m.seq for m in chat.visible(False)}
            self.test.assertLessEqual(stayed, set(seen))

    def get(self):
        chat = self.random.choice(self.chats)
        with chat.lock:
            seq = self.some_seq(chat)
            named = self.name(chat, seq)
            self.compare(chat.message(seq) or oracle.MESSAGE_NOT_FOUND,
                         self.outcome(lambda: self.api().GetMessage(**named)))

    def batch_get(self):
        chats = self.random.sample(self.chats, 2)
        with self.locked(chats):
            if self.chance(0.5):
                seqs = [self.some_seq(chats[0]) for _ in range(self.random.randint(1, 100))]
                expected = [chats[0].message(seq) for seq in dict.fromkeys(seqs)]
                fields = {"chat_id": chats[0].id, "seqs": seqs}
            else:
                wanted = [self.random.choice(chat.messages) if chat.messages else None
                          for chat in self.random.choices(chats, k=self.random.randint(1, 100))]
                ids = [m.id if m else NO_SUCH_ID for m in wanted]
                by_id = {m.id: m for m in wanted if m}
                expected = [by_id.get(message_id) for message_id in dict.fromkeys(ids)]
                fields = {"message_ids": ids}
            self.compare_list([m for m in expected if m],
                              self.outcome(lambda: self.api().BatchGetMessages(**fields)))

    def revisions(self):
        chat = self.random.choice(self.chats)
        with chat.lock:
            seq = self.some_seq(chat)
            edited = [i + 1 for i, said in enumerate(chat.revisions) if len(said) > 2]
            if edited and self.chance(0.5):
                seq = self.random.choice(edited)
            named = self.name(chat, seq)
            if not chat.message(seq):
                self.compare(oracle.MESSAGE_NOT_FOUND, self.outcome(
                    lambda: self.api().ListMessageRevisions(**named)))
                return
            limit, offset = self.random.choice((1, 2, 20)), self.random.choice((0, 0, 1))
            expected = chat.revisions[seq - 1]
            answer = self.outcome(lambda: self.api().ListMessageRevisions(
                limit=limit, offset=offset, **named))
            self.test.assertEqual(
                [(r.revision, r.text, r.create_time) for r in answer.revisions],
                expected[offset:offset + limit])
            self.test.assertEqual(bool(answer.next_page_token), len(expected) > offset + limit)
            if answer.next_page_token:
                rest = self.outcome(lambda: self.api().ListMessageRevisions(
                    limit=100, page_token=answer.next_page_token, **named))
                self.test.assertEqual([r.revision for r in rest.revisions],
                                      [r[0] for r in expected[offset + limit:]])

    @staticmethod
    def count_of(count):
        return count.chat_id, count.read_seq, count.last_seq, count.unread_count

    def mark_read(self):
        chat = self.random.choice(self.chats)
        with chat.lock:
            user = self.some_user(chat)
            seq = self.random.choice((0, chat.last_seq, 2**62, self.some_seq(chat),
                                      self.random.randint(0, chat.last_seq)))
            expected = chat.mark_read(user, seq)
            answer = self.outcome(lambda: self.api().MarkRead(
                chat_id=chat.id, user_id=user, seq=seq))
            self.compare(expected, answer if isinstance(answer, tuple) else self.count_of(answer))

    def unread(self):
        """Of all chats of an own user, whom only this client moves, or of some of anybody's."""
        everything = self.chance(0.5)
        chats = self.own if everything else self.random.sample(self.chats, 3)
        user = self.random.choice(self.test.own_users[self.number]) if everything \
            else self.some_user(self.random.choice(chats))
        with self.locked(chats):
            answer = self.outcome(lambda: self.api().GetUnreadCounts(
                user_id=user, chat_ids=[] if everything else [chat.id for chat in chats]))
            self.test.assertNotIsInstance(answer, tuple, answer)
            expected = [chat.unread(user) for chat in sorted(chats, key=lambda chat: chat.id)
                        if user in chat.roles]
            self.test.assertEqual([self.count_of(count) for count in answer.counts], expected)
            self.test.assertEqual(answer.total_unread_count, sum(count[3] for count in expected))

    def come_and_go(self):
        chat = self.random.choice(self.chats)
        with chat.lock:
            user = self.random.choice(self.users_of(chat))
            if user not in chat.roles:
                role = self.random.choice((oracle.MEMBER, oracle.ADMIN))
                self.test.chats.AddUserToChat(chat_id=chat.id, user_id=user,
                                              role="CHAT_ROLE_" + role.upper())
                chat.join(user, role)
            elif chat.roles[user] != oracle.OWNER:
                self.test.chats.RemoveUserFromChat(chat_id=chat.id, user_id=user)
                chat.leave(user)

    def search(self):
        first, second = self.random.sample(VOCABULARY, 2)
        query = self.random.choice(([first], [first, second], [first, ("not", second)],
                                    [("not", first)], [(first, second)]))
        typed = " ".join("-" + part[1] if part[0] == "not" else
                         part if isinstance(part, str) else f'"{" ".join(part)}"'
                         for part in query)
        everywhere = self.chance(0.5)
        chats = self.own if everywhere else [self.random.choice(self.chats)]
        user = self.random.choice(self.test.own_users[self.number]) if everywhere \
            else self.some_user(chats[0])
        fields = {"query": typed, "user_id": user} | (
            {} if everywhere else {"chat_id": chats[0].id})
        with self.locked(chats):
            if not everywhere and user not in chats[0].roles:
                self.compare(oracle.NOT_A_MEMBER,
                             self.outcome(lambda: self.api().SearchMessages(**fields)))
                return
            found = sorted((m for chat in chats if user in chat.roles for m in chat.found(query)),
                           key=lambda m: (time_of(m), m.chat_id, m.seq), reverse=True)
            limit = self.random.choice((0, 1, 7, 100))
            offset = self.random.choice((0, 0, 3, 2**63 - 1))
            answer = self.outcome(lambda: self.api().SearchMessages(
                limit=limit, offset=offset, **fields))
            self.compare_list(found[offset:offset + (limit or 20)], answer)
            if len(found) < 500 and self.chance(0.3):
                self.compare_pages(
                    lambda page_token: self.api().SearchMessages(
                        limit=100, page_token=page_token, **fields), "messages", 100, found)
                ranked = self.test.all_pages(self.api().SearchMessages, "messages", limit=100,
                                             order="SEARCH_ORDER_RELEVANCE", **fields)
                self.test.assertEqual(sorted(m.id for page in ranked for m in page),
                                      sorted(m.id for m in found))

    OPERATIONS = ((send, 24), (batch_send, 6), (update, 14), (delete, 8), (list, 12),
                  (list_around, 6), (walk, 3), (walk_while_others_write, 1), (get, 5),
                  (batch_get, 3), (revisions, 4), (mark_read, 6), (unread, 5), (come_and_go, 4),
                  (search, 5))

    def run(self):
        operations, weights = zip(*self.OPERATIONS)
        for done in range(OPERATIONS):
            if self.test.failed.is_set():
                return
            operation = self.random.choices(operations, weights)[0]
            try:
                operation(self)
            except BaseException:
                self.test.failed.set()
                traceback.print_exc()
                print(f"client {self.number}, operation {done}: {operation.__name__}", flush=True)
                raise


class ModelTest(harness.SystemTest, harness.People):
    runs = ("chatd",)

    def setUp(self):
        self.services = [self.start("messaged"), self.start("messaged")]
        self.failed = threading.Event()
        self.stranger = self.new_user().id
        blocked = self.new_user()
        self.blocked = blocked.id
        self.own_users = [[self.new_user().id for _ in range(4)] for _ in range(CLIENTS)]
        self.shared_users = [self.new_user().id for _ in range(5)]
        self.own_chats = [[self.make_chat(users) for _ in range(OWN_CHATS)]
                          for users in self.own_users]
        self.shared_chats = [self.make_chat(self.shared_users) for _ in range(SHARED_CHATS)]
        self.block(blocked)

    def make_chat(self, users):
        """A chat that some of the users and the one who will be blocked belong to."""
        chat = self.chats.CreateChat(creator_user_id=users[0], title="t",
                                     chat_type="CHAT_TYPE_GROUP",
                                     user_ids=[*users[1:3], self.blocked])
        model = oracle.ChatModel(chat.id, users[0])
        for user in (*users[1:3], self.blocked):
            model.join(user, oracle.MEMBER)
        return model

    def check_stored(self, chat):
        """What the model ends with is what the database ends with, in numbers too."""
        rows = self.database.rows(
            "SELECT seq, id, text, deleted, revision, created_at, search IS NULL FROM messages"
            " WHERE chat_id = %s ORDER BY seq", chat.id)
        self.assertEqual([row[:5] for row in rows],
                         [(m.seq, m.id, m.text, m.deleted, m.revision) for m in chat.messages])
        times = [row[5] for row in rows]
        self.assertEqual(times, sorted(times))
        for row in rows:
            self.assertEqual(row[3], row[6], "tombstones, and only they, are not searched")
        self.assertEqual(
            self.database.rows("SELECT last_seq, last_event FROM chats WHERE id = %s", chat.id),
            [(chat.last_seq, chat.events)])
        self.assertEqual(
            self.database.rows("SELECT event FROM message_events WHERE chat_id = %s ORDER BY event",
                               chat.id), [(i + 1,) for i in range(chat.events)])
        kept = self.database.rows("SELECT seq, revision, text FROM message_revisions WHERE"
                                  " chat_id = %s ORDER BY seq, revision", chat.id)
        self.assertEqual(kept, [(i + 1, revision, text) for i, said in enumerate(chat.revisions)
                                for revision, text, _ in reversed(said[1:])])

    def test_every_answer_is_the_models(self):
        seed = os.environ.get("PARLEY_TEST_SEED") or str(random.SystemRandom().randrange(10**9))
        print(f"PARLEY_TEST_SEED={seed}", flush=True)
        clients = [Client(self, number, seed) for number in range(CLIENTS)]
        started = time.monotonic()
        try:
            harness.in_threads(CLIENTS, lambda number: clients[number].run())
        except BaseException:
            print(f"PARLEY_TEST_SEED={seed} repeats this", flush=True)
            for service in self.services:
                for line in service.log():
                    if line.get("level") == "error":
                        print(line, flush=True)
            raise
        calls = sum(client.calls for client in clients)
        print(f"{calls} calls in {time.monotonic() - started:.1f} s", flush=True)
        for chat in [*sum(self.own_chats, []), *self.shared_chats]:
            self.check_stored(chat)
            for user in chat.roles:
                answer = self.services[0].messages.GetUnreadCounts(user_id=user,
                                                                   chat_ids=[chat.id])
                self.assertEqual([Client.count_of(count) for count in answer.counts],
                                 [chat.unread(user)])


if __name__ == "__main__":
    unittest.main()
