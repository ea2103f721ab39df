"""What the message service promises, written down a second time, without a database.

A ChatModel is one chat as its callers must see it. It knows nothing of pages of storage, of locks or
of batches: its calls come one after the other, because whoever uses it holds its lock around the
model and the real call.
"""

import copy
import math
import threading

MEMBER, ADMIN, OWNER = "member", "admin", "owner"

CHAT_NOT_FOUND = ("NOT_FOUND", "CHAT_NOT_FOUND")
MESSAGE_NOT_FOUND = ("NOT_FOUND", "MESSAGE_NOT_FOUND")
NOT_A_MEMBER = ("PERMISSION_DENIED", "NOT_A_MEMBER")
USER_BLOCKED = ("PERMISSION_DENIED", "USER_BLOCKED")
NOT_PERMITTED = ("PERMISSION_DENIED", "NOT_PERMITTED")
REUSED = ("ALREADY_EXISTS", "REQUEST_ID_REUSED")
DELETED = ("FAILED_PRECONDITION", "MESSAGE_DELETED")
ETAG_MISMATCH = ("ABORTED", "ETAG_MISMATCH")
CONTENTION = ("ABORTED", "CONTENTION")
INVALID = ("INVALID_ARGUMENT", "INVALID_ARGUMENT")


def words_of(text):
    """The words that a search finds a text by; the tests' texts have no others."""
    return [word for word in text.split() if word.isascii() and word.isalnum()]


def matches(query, text):
    """Whether a text is found: `query` is a list of words, of ("not", word) and of phrases, tuples."""
    words = words_of(text)
    for part in query:
        if isinstance(part, str):
            if part not in words:
                return False
        elif part[0] == "not":
            if part[1] in words:
                return False
        elif not any(tuple(words[i:i + len(part)]) == part for i in range(len(words))):
            return False
    return True


def time_of(message):
    return message.create_time.ToMicroseconds()


class Wrote:
    """The model expects a new message; `check` compares it with the answer and takes it in."""

    def __init__(self, chat, user, text, reply_to_seq, request_id):
        self.chat, self.user, self.text = chat, user, text
        self.reply_to_seq, self.request_id = reply_to_seq, request_id

    def check(self, test, answer):
        chat = self.chat
        seq = len(chat.messages) + 1
        test.assertEqual(
            (answer.chat_id, answer.seq, answer.user_id, answer.text, answer.deleted,
             answer.revision, answer.reply_to_seq),
            (chat.id, seq, self.user, self.text, False, 1, self.reply_to_seq))
        test.assertEqual(answer.create_time, answer.update_time)
        if chat.messages:
            test.assertGreaterEqual(time_of(answer), time_of(chat.messages[-1]))
        test.assertTrue(answer.etag)
        chat.messages.append(copy.deepcopy(answer))
        chat.revisions.append([(1, self.text, answer.create_time)])
        if self.request_id:
            chat.requests[self.user, self.request_id] = (self.text, self.reply_to_seq, seq)


class Changed:
    """The model expects an edit, or with `text` None a tombstone."""

    def __init__(self, chat, seq, text):
        self.chat, self.seq, self.text = chat, seq, text

    def check(self, test, answer):
        before = self.chat.messages[self.seq - 1]
        edited = self.text is not None
        test.assertEqual(
            (answer.id, answer.chat_id, answer.seq, answer.user_id, answer.create_time,
             answer.reply_to_seq, answer.text, answer.deleted, answer.revision),
            (before.id, before.chat_id, before.seq, before.user_id, before.create_time,
             before.reply_to_seq, self.text or "", not edited, before.revision + edited))
        test.assertNotEqual(answer.etag, before.etag)
        test.assertGreaterEqual(answer.update_time.ToMicroseconds(),
                                before.update_time.ToMicroseconds())
        self.chat.messages[self.seq - 1] = copy.deepcopy(answer)
        self.chat.events += 1
        if edited:
            self.chat.revisions[self.seq - 1].insert(
                0, (answer.revision, self.text, answer.update_time))
        else:
            self.chat.revisions[self.seq - 1] = []


class ChatModel:
    def __init__(self, chat_id, owner):
        self.id = chat_id
        self.lock = threading.RLock()
        self.messages = []  # as answered last; by seq - 1
        self.revisions = []  # of each message, the latest first
        self.requests = {}  # (user, request_id) -> (text, reply_to_seq, seq)
        self.roles = {owner: OWNER}
        self.read = {owner: 0}
        self.events = 0

    @property
    def last_seq(self):
        return len(self.messages)

    def message(self, seq):
        return self.messages[seq - 1] if 0 < seq <= self.last_seq else None

    def join(self, user, role):
        if user not in self.roles:
            self.roles[user], self.read[user] = role, self.last_seq

    def leave(self, user):
        if user in self.roles:
            del self.roles[user], self.read[user]

    # ---- Writes: what must come out, an error, a message that is there, or a Wrote or Changed

    def send(self, user, text, reply_to_seq, request_id, blocked):
        earlier = self.requests.get((user, request_id)) if request_id else None
        if earlier:
            if earlier[:2] != (text, reply_to_seq):
                return REUSED
            return self.messages[earlier[2] - 1]
        if user not in self.roles:
            return NOT_A_MEMBER
        if blocked:
            return USER_BLOCKED
        if reply_to_seq and not self.message(reply_to_seq):
            return MESSAGE_NOT_FOUND
        return Wrote(self, user, text, reply_to_seq, request_id)

    def edit(self, seq, user, text, etag):
        before = self.message(seq)
        if not before:
            return MESSAGE_NOT_FOUND
        if before.user_id != user:
            return NOT_PERMITTED
        if before.deleted:
            return DELETED
        if etag and etag != before.etag:
            return ETAG_MISMATCH
        return before if before.text == text else Changed(self, seq, text)

    def delete(self, seq, user):
        before = self.message(seq)
        if not before:
            return MESSAGE_NOT_FOUND
        if before.user_id != user and self.roles.get(user) not in (OWNER, ADMIN):
            return NOT_PERMITTED
        return before if before.deleted else Changed(self, seq, None)

    def mark_read(self, user, seq):
        if user not in self.roles:
            return NOT_A_MEMBER
        self.read[user] = max(self.read[user], min(seq, self.last_seq))
        return self.unread(user)

    # ---- Reads

    def unread(self, user):
        """(chat_id, read_seq, last_seq, unread_count)"""
        read = self.read[user]
        return (self.id, read, self.last_seq, sum(
            1 for m in self.messages[read:] if m.user_id != user and not m.deleted))

    def visible(self, show_deleted):
        return [m for m in self.messages if show_deleted or not m.deleted]

    def listed(self, anchor, value, show_deleted):
        """All that a list without limit holds, in its order."""
        visible = self.visible(show_deleted)
        if anchor == "after_seq":
            return [m for m in visible if m.seq > value]
        if anchor == "before_seq":
            visible = [m for m in visible if m.seq < value]
        elif anchor == "before_time":
            visible = [m for m in visible if time_of(m) < value]
        return visible[::-1]

    def around(self, seq, limit, show_deleted):
        """The first page around a seq, and what the tokens then lead to."""
        visible = self.visible(show_deleted)
        above = [m for m in visible if m.seq >= seq]
        below = [m for m in visible if m.seq < seq][::-1]
        above = above[:max(math.ceil(limit / 2), limit - len(below))]
        page = (above[::-1] + below)[:limit]
        rest = [m for m in visible[::-1] if page and m.seq < page[-1].seq]
        return page, rest

    def found(self, query):
        return [m for m in self.messages if not m.deleted and matches(query, m.text)]
