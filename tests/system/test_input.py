"""What no call may be given, whatever its service: text, ids, enums, page arguments."""

import unittest

import grpc
from google.protobuf.descriptor import FieldDescriptor

import harness

MARK = "QQQQ"
NOT_UTF8 = {
    "a byte that never occurs": b"QQ\xffQ",
    "an overlong slash": b"QQ\xc0\xaf",
    "half a surrogate pair": b"Q\xed\xa0\x80",
    "a sequence cut off": b"QQQ\xe2",
    "beyond U+10FFFF": b"\xf4\x90\x80\x80",
}
FOUR_BYTES = "\U0001f600"


def methods():
    """Every method that the protos declare: client, full service name, descriptor."""
    for clients in harness.CLIENTS.values():
        for client, (module, service) in clients.items():
            service = harness.descriptor(module, service)
            for method in service.methods:
                yield client, service.full_name, method


def request_of(method):
    return harness.request_class(method)()


def is_repeated(field):
    return field.label == FieldDescriptor.LABEL_REPEATED


def string_fields(descriptor):
    """The string fields of a request: their path up to the first repeated one, and a setter."""
    for field in descriptor.fields:
        name, inner = field.name, field.message_type
        if inner is not None and inner.GetOptions().map_entry:
            yield name, lambda message, text, name=name: getattr(message, name).update({text: "x"})
            yield name, lambda message, text, name=name: getattr(message, name).update({"x": text})
        elif inner is not None and inner.name == "FieldMask":
            yield name, lambda message, text, name=name: getattr(message, name).paths.append(text)
        elif inner is not None:
            for path, setter in string_fields(inner):
                if is_repeated(field):
                    yield name, (lambda message, text, name=name, setter=setter:
                                 setter(getattr(message, name).add(), text))
                else:
                    yield f"{name}.{path}", (lambda message, text, name=name, setter=setter:
                                             setter(getattr(message, name), text))
        elif field.type == FieldDescriptor.TYPE_STRING and is_repeated(field):
            yield name, lambda message, text, name=name: getattr(message, name).append(text)
        elif field.type == FieldDescriptor.TYPE_STRING:
            yield name, lambda message, text, name=name: setattr(message, name, text)


class InputCase(harness.SystemTest, harness.People):
    runs = ("chatd", "messaged", "schedulerd")

    def send(self, client, service, method, request):
        if not isinstance(request, bytes):
            request = request.SerializeToString()
        binary = next(name for name, clients in harness.CLIENTS.items() if client in clients)
        return getattr(self, binary).send_bytes(service, method.name, request)


class EveryMethodTest(InputCase):
    def test_invalid_utf8_is_refused_and_its_field_named(self):
        for client, service, method in methods():
            for path, setter in string_fields(method.input_type):
                request = request_of(method)
                setter(request, MARK)
                whole = request.SerializeToString()
                self.assertIn(MARK.encode(), whole)
                for what, wrong in NOT_UTF8.items():
                    with self.subTest(method=method.full_name, field=path, what=what):
                        with self.assert_error("INVALID_ARGUMENT", field=path):
                            self.send(client, service, method,
                                      whole.replace(MARK.encode(), wrong))

    def test_the_character_zero_is_refused_and_its_field_named(self):
        # An etag is compared, a password hashed; Chat.users and Queue.pause_note are output only; each of a
        # batch's requests has an outcome of its own.
        unread = ("etag", "password", "pause_note", "users", "requests")
        for client, service, method in methods():
            for path, setter in string_fields(method.input_type):
                if path.split(".")[-1] in unread:
                    continue
                request = request_of(method)
                setter(request, "Q\0Q")
                with self.subTest(method=method.full_name, field=path):
                    with self.assert_error("INVALID_ARGUMENT", field=path):
                        self.send(client, service, method, request)

    def test_negative_ids_are_refused_and_named(self):
        for client, service, method in methods():
            for field in method.input_type.fields:
                if not field.name.endswith(("_id", "_ids")) or field.name == "request_id":
                    continue
                request = request_of(method)
                if is_repeated(field):
                    getattr(request, field.name).append(-1)
                else:
                    setattr(request, field.name, -1)
                with self.subTest(method=method.full_name, field=field.name):
                    with self.assert_error("INVALID_ARGUMENT", field=field.name):
                        self.send(client, service, method, request)

    def test_values_that_an_enum_does_not_have_are_refused_and_named(self):
        for client, service, method in methods():
            for field in method.input_type.fields:
                if field.enum_type is None:
                    continue
                request = request_of(method)
                setattr(request, field.name, 99)
                with self.subTest(method=method.full_name, field=field.name):
                    with self.assert_error("INVALID_ARGUMENT", field=field.name):
                        self.send(client, service, method, request)

    def test_bytes_that_are_no_message_are_refused(self):
        for client, service, method in methods():
            with self.subTest(method=method.full_name):
                with self.assertRaises(grpc.RpcError) as caught:
                    self.send(client, service, method, b"\xff\xff\xff\xff")
                failure = harness.Failure().read(caught.exception)
                self.assertEqual((failure.code, failure.reason),
                                 ("INVALID_ARGUMENT", "INVALID_ARGUMENT"))


class TextTest(InputCase):
    def check_limit(self, call, field, longest, character):
        """`call` takes a text of `longest` characters and no more."""
        with self.subTest(field=field, longest=longest, character=character):
            call(character * longest)
            with self.assert_error("INVALID_ARGUMENT", field=field):
                call(character * (longest + 1))

    def test_texts_are_counted_in_code_points(self):
        owner = self.new_user()
        chat = self.new_chat(owner)
        message = self.messages.SendMessage(chat_id=chat.id, user_id=owner.id, text="x")
        for character in ("x", "\u00e9", FOUR_BYTES):
            for call, field, longest in (
                    (lambda text: self.users.CreateUser(login=text), "login", 256),
                    (lambda text: self.new_user(name=text), "name", 256),
                    (lambda text: self.users.ListUsers(login_prefix=text), "login_prefix", 256),
                    (lambda text: self.users.UpdateUser(user={"id": owner.id, "name": text}),
                     "user.name", 256),
                    (lambda text: self.new_chat(owner, title=text), "title", 256),
                    (lambda text: self.new_chat(owner, description=text), "description", 512),
                    (lambda text: self.chats.UpdateChat(chat={"id": chat.id, "title": text}),
                     "chat.title", 256),
                    (lambda text: self.chats.UpdateChat(chat={"id": chat.id, "description": text}),
                     "chat.description", 512),
                    (lambda text: self.messages.SendMessage(
                        chat_id=chat.id, user_id=owner.id, text=text), "text", 1024),
                    (lambda text: self.messages.UpdateMessage(
                        message={"id": message.id, "text": text}, user_id=owner.id),
                     "message.text", 1024),
                    (lambda text: self.tasks.CreateTask(queue="q", name=text), "name", 256)):
                self.check_limit(call, field, longest, character)

    def test_what_is_written_is_read_again_to_the_last_character(self):
        owner = self.new_user()
        text = "\u00e9e\u0301 \u200d\U0001f469\u200d\U0001f680 \ufeff\u202e\uffff'\"\\%_:$1 \r\n\t"
        chat = self.new_chat(owner, title=text, description=text)
        self.assertEqual((chat.title, chat.description), (text, text))
        message = self.messages.SendMessage(chat_id=chat.id, user_id=owner.id, text=text)
        self.assertEqual(self.messages.GetMessage(message_id=message.id).text, text)
        self.assertEqual(self.database.value("SELECT text FROM messages WHERE id = %s",
                                             message.id), text)

    def test_texts_that_must_be_there_are_named(self):
        owner = self.new_user()
        chat = self.new_chat(owner)
        for call, field in ((lambda: self.users.CreateUser(), "login"),
                            (lambda: self.users.CreateUser(login=""), "login"),
                            (lambda: self.new_chat(owner, title=""), "title"),
                            (lambda: self.messages.SendMessage(
                                chat_id=chat.id, user_id=owner.id), "text"),
                            (lambda: self.tasks.CreateTask(queue="q"), "name"),
                            (lambda: self.tasks.CreateTask(name="n"), "queue")):
            with self.assert_error("INVALID_ARGUMENT", field=field):
                call()

    def test_request_ids_are_short_and_ascii(self):
        owner = self.new_user()
        chat, user = self.new_chat(owner), self.new_user()
        for call in (lambda text: self.new_user(request_id=text),
                     lambda text: self.new_chat(owner, request_id=text),
                     lambda text: self.chats.AddUserToChat(
                         chat_id=chat.id, user_id=user.id, request_id=text),
                     lambda text: self.messages.SendMessage(
                         chat_id=chat.id, user_id=owner.id, text="x", request_id=text),
                     lambda text: self.tasks.CreateTask(queue="q", name="n", request_id=text)):
            self.check_limit(call, "request_id", 64, "~")
            for wrong in ("\u00e9", "a\tb", "a\nb"):
                with self.assert_error("INVALID_ARGUMENT", field="request_id"):
                    call(wrong)

    def test_all_that_is_wrong_is_said_at_once(self):
        with self.assert_error("INVALID_ARGUMENT") as failure:
            self.chats.CreateChat(description="x" * 513, user_ids=[1, -1], request_id="x" * 65)
        for field in ("creator_user_id", "title", "description", "chat_type", "user_ids[1]",
                      "request_id"):
            self.assertTrue(failure.names(field), f"{field} is not in {failure.fields}")
        with self.assert_error("INVALID_ARGUMENT") as failure:
            self.tasks.CreateTask(queue="no blanks", delay={"seconds": -1}, priority=10,
                                  max_attempts=101)
        for field in ("queue", "name", "delay", "priority", "max_attempts"):
            self.assertTrue(failure.names(field), f"{field} is not in {failure.fields}")

    def test_very_much_that_is_wrong_still_fits_into_an_error(self):
        for field, call in (("user_ids", self.users.BatchGetUsers),
                            ("chat_ids", self.chats.BatchGetChats)):
            with self.assert_error("INVALID_ARGUMENT", field=field) as failure:
                call(**{field: [-1] * 100})
            self.assertLessEqual(len(failure.fields), 21)
        with self.assert_error("INVALID_ARGUMENT", field="headers"):
            self.tasks.CreateTask(queue="q", name="n", headers={
                f"{i}" + FOUR_BYTES * 300: "x" for i in range(64)})


class PageArgumentTest(InputCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        people = [cls.new_user() for _ in range(3)]
        chats = [cls.new_chat(people[0], people[1:]) for _ in range(3)]
        for text in "abc":
            for chat in chats:
                cls.messages.SendMessage(chat_id=chat.id, user_id=people[0].id, text=text)
            cls.tasks.CreateTask(queue="q", name=text)
            cls.tasks.CreateTask(queue="r", name=text)
            cls.tasks.CreateTask(queue="dead", name=text)
            lease, = cls.workers.LeaseTasks(queues=["dead"]).leases
            cls.workers.FailTask(task_id=lease.task.id, lease_token=lease.lease_token, for_good=True)
        chat, other = chats[0].id, chats[1].id
        # Lists that have more than one page, no two of them the same.
        cls.lists = {
            "users": (cls.users.ListUsers, {}),
            "active users": (cls.users.ListUsers, {"status": "USER_STATUS_ACTIVE"}),
            "users by login": (cls.users.ListUsers, {"login_prefix": "user"}),
            "chats": (cls.chats.ListChats, {}),
            "groups": (cls.chats.ListChats, {"chat_type": "CHAT_TYPE_GROUP"}),
            "members": (cls.chats.ListChatUsers, {"chat_id": chat}),
            "members elsewhere": (cls.chats.ListChatUsers, {"chat_id": other}),
            "chats of a user": (cls.chats.ListUserChats, {"user_id": people[0].id}),
            "chats of another": (cls.chats.ListUserChats, {"user_id": people[1].id}),
            "messages": (cls.messages.ListMessages, {"chat_id": chat}),
            "messages elsewhere": (cls.messages.ListMessages, {"chat_id": other}),
            "messages before": (cls.messages.ListMessages, {"chat_id": chat, "before_seq": 4}),
            "messages after": (cls.messages.ListMessages, {"chat_id": chat, "after_seq": 0}),
            "messages after 1": (cls.messages.ListMessages, {"chat_id": chat, "after_seq": 1}),
            "tasks": (cls.tasks.ListTasks, {}),
            "tasks of a queue": (cls.tasks.ListTasks, {"queue": "q"}),
            "tasks of another": (cls.tasks.ListTasks, {"queue": "r"}),
            "waiting tasks": (cls.tasks.ListTasks, {"state": "TASK_STATE_PENDING"}),
            "dead tasks": (cls.tasks.ListDeadTasks, {}),
            "dead tasks of a queue": (cls.tasks.ListDeadTasks, {"queue": "dead"}),
        }
        cls.tokens = {name: method(limit=1, **request).next_page_token
                      for name, (method, request) in cls.lists.items()}

    def test_negative_limits_and_offsets_are_refused_together(self):
        for name, (method, request) in self.lists.items():
            with self.subTest(name), self.assert_error("INVALID_ARGUMENT") as failure:
                method(limit=-1, offset=-1, **request)
            self.assertTrue(failure.names("limit") and failure.names("offset"), failure.fields)

    def test_offset_and_token_do_not_go_together(self):
        for name, (method, request) in self.lists.items():
            with self.subTest(name):
                method(page_token=self.tokens[name], **request)
                with self.assert_error("INVALID_ARGUMENT") as failure:
                    method(page_token=self.tokens[name], offset=1, **request)
                self.assertTrue(failure.names("offset") or failure.names("page_token"))

    def test_a_token_is_good_for_its_own_list_only(self):
        for name, (method, request) in self.lists.items():
            self.assertTrue(self.tokens[name], name)
            for other, token in self.tokens.items():
                if other != name:
                    with self.subTest(list=name, token=other):
                        with self.assert_error("INVALID_ARGUMENT", field="page_token"):
                            method(page_token=token, **request)

    def test_a_changed_token_is_refused(self):
        for name, (method, request) in self.lists.items():
            token = self.tokens[name]
            self.assertRegex(token, r"^[A-Za-z0-9_=.~-]+$")
            middle = len(token) // 2
            swapped = "A" if token[middle] != "A" else "B"
            for wrong in ("x", "!" * 10, "A" * 5000, token[:-2], token + "AA", token[4:],
                          token[:middle] + swapped + token[middle + 1:]):
                with self.subTest(list=name, token=wrong[:40]):
                    with self.assert_error("INVALID_ARGUMENT", field="page_token"):
                        method(page_token=wrong, **request)


if __name__ == "__main__":
    unittest.main()
