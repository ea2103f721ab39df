"""Logs: JSON, one line a call, nothing in them that is not for the log's readers."""

import collections
import contextlib
import re
import unittest

import grpc

import harness
import proxy

PASSWORD = "password-secret-3c20"
TEXT = "text-secret-9ab4"


class LogTest(harness.SystemTest):
    def start_talkative(self, name):
        road = proxy.Proxy(self.database.url)
        self.addCleanup(road.cut)
        self.secrets = (road.password, PASSWORD, TEXT)
        return self.start(name, "--log-level", "debug", url=road.url), road

    def access_lines(self, service):
        """(method, code) -> how many lines there are."""
        return collections.Counter(
            (line["grpc.method"], line["grpc.code"]) for line in service.log()
            if "grpc.method" in line)

    def check_lines(self, service, expected):
        """Every line is an object with the usual fields; every call has exactly one."""
        harness.poll("the access lines", lambda: sum(self.access_lines(service).values())
                     >= sum(expected.values()))
        self.assertEqual(service.stop(), 0)
        for line in service.log():
            self.assertIsInstance(line, dict)
            self.assertLessEqual({"time", "level", "service", "message"}, set(line))
            self.assertRegex(line["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,6}Z$")
            self.assertIn(line["level"], ("debug", "info", "warn", "error"))
            self.assertEqual(line["service"], "parley-" + service.name)
        self.assertEqual(self.access_lines(service), expected)
        for secret in self.secrets:
            self.assertNotIn(secret, "\n".join(service.lines))
        for line in service.log():
            if "grpc.method" in line:
                self.assertGreaterEqual(line["grpc.time_ms"], 0)
                self.assertTrue(line["grpc.service"].startswith("parley."))
                self.assertRegex(line["trace_id"], "^[0-9a-f]{32}$")
                self.assertRegex(line["span_id"], "^[0-9a-f]{16}$")
                # All of these calls have a deadline.
                self.assertRegex(line["grpc.request.deadline"],
                                 r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")

    def expect(self, call, code="OK"):
        try:
            call()
            self.assertEqual(code, "OK")
        except grpc.RpcError as error:
            self.assertEqual(error.code().name, code)

    def test_chatd_logs_calls_and_no_passwords(self):
        service, _ = self.start_talkative("chatd")
        users, chats = service.users, service.chats
        user = self.start("chatd").users.CreateUser(login="x")
        for call, code in (
                (lambda: users.CreateUser(login="a", password=PASSWORD, request_id="r-1"), "OK"),
                (lambda: users.CreateUser(login="A", password=PASSWORD), "ALREADY_EXISTS"),
                (lambda: users.CreateUser(login="b", password=PASSWORD * 60), "INVALID_ARGUMENT"),
                (lambda: users.SetPassword(user_id=user.id, password=PASSWORD), "OK"),
                (lambda: users.SetPassword(user_id=999, password=PASSWORD), "NOT_FOUND"),
                (lambda: users.VerifyPassword(login="a", password=PASSWORD), "OK"),
                (lambda: users.VerifyPassword(login="a", password=PASSWORD + "x"),
                 "UNAUTHENTICATED"),
                (lambda: users.VerifyPassword(login="c", password=PASSWORD), "UNAUTHENTICATED"),
                (lambda: chats.GetChat(chat_id=-1), "INVALID_ARGUMENT")):
            self.expect(call, code)
        with self.assertRaises(grpc.RpcError):
            service.send_bytes("parley.chat.v1.UserService", "SetPassword",
                               b"\x12\x16\xff" + PASSWORD.encode() + b"\xff")
        self.check_lines(service, {
            ("CreateUser", "OK"): 1, ("CreateUser", "ALREADY_EXISTS"): 1,
            ("CreateUser", "INVALID_ARGUMENT"): 1, ("SetPassword", "OK"): 1,
            ("SetPassword", "NOT_FOUND"): 1, ("SetPassword", "INVALID_ARGUMENT"): 1,
            ("VerifyPassword", "OK"): 1, ("VerifyPassword", "UNAUTHENTICATED"): 2,
            ("GetChat", "INVALID_ARGUMENT"): 1})
        self.assertIn("r-1", [line.get("request_id") for line in service.log()])

    def test_messaged_logs_calls_and_no_texts(self):
        chatd = self.start("chatd")
        owner = chatd.users.CreateUser(login="owner")
        chat = chatd.chats.CreateChat(creator_user_id=owner.id, title="t",
                                      chat_type="CHAT_TYPE_GROUP")
        service, road = self.start_talkative("messaged")
        send = service.messages.SendMessage
        names = {"chat_id": chat.id, "user_id": owner.id}
        self.expect(lambda: send(text=TEXT, request_id="r", **names))
        self.expect(lambda: send(text=TEXT + "!", request_id="r", **names), "ALREADY_EXISTS")
        self.expect(lambda: send(text=TEXT * 100, **names), "INVALID_ARGUMENT")
        self.expect(lambda: send(text=TEXT, chat_id=chat.id, user_id=77), "PERMISSION_DENIED")
        with self.broken("messages"):
            self.expect(lambda: send(text=TEXT, **names), "INTERNAL")
        road.cut()
        self.expect(lambda: send(text=TEXT, **names), "UNAVAILABLE")
        self.check_lines(service, {
            ("SendMessage", "OK"): 1, ("SendMessage", "ALREADY_EXISTS"): 1,
            ("SendMessage", "INVALID_ARGUMENT"): 1, ("SendMessage", "PERMISSION_DENIED"): 1,
            ("SendMessage", "INTERNAL"): 1, ("SendMessage", "UNAVAILABLE"): 1})

    @contextlib.contextmanager
    def broken(self, table):
        """While it lasts, every insert fails with an error that repeats the row."""
        self.database.rows(f"ALTER TABLE {table} ADD CONSTRAINT broken CHECK (false) NOT VALID")
        yield
        self.database.rows(f"ALTER TABLE {table} DROP CONSTRAINT broken")

    def test_an_internal_error_tells_the_caller_where_to_look_and_no_more(self):
        service, _ = self.start_talkative("chatd")
        with self.broken("users"):
            with self.assert_error("INTERNAL", "INTERNAL") as failure:
                service.users.CreateUser(login=TEXT)
        self.assertNotIn(TEXT, failure.text + failure.trailer.decode("latin-1"))
        self.assertNotIn("users", failure.text)
        log_id = re.search(r"\b[0-9a-f]{16}\b", failure.text)[0]
        lines = harness.poll("the line", lambda: [
            line for line in service.log() if line.get("log_id") == log_id])
        self.assertEqual((lines[0]["level"], lines[0]["grpc.method"]), ("error", "CreateUser"))

    def test_schedulerd_logs_calls_and_no_payloads(self):
        service, _ = self.start_talkative("schedulerd")
        self.expect(lambda: service.tasks.CreateTask(
            queue="q", name="n", payload=TEXT.encode(), headers={"h": TEXT}))
        lease = service.workers.LeaseTasks(queues=["q"]).leases[0]
        self.expect(lambda: service.workers.FailTask(
            task_id=lease.task.id, lease_token=lease.lease_token, error=TEXT))
        self.expect(lambda: service.workers.AckTask(
            task_id=lease.task.id, lease_token=lease.lease_token), "ABORTED")
        self.check_lines(service, {("CreateTask", "OK"): 1, ("LeaseTasks", "OK"): 1,
                                   ("FailTask", "OK"): 1, ("AckTask", "ABORTED"): 1})
        self.assertNotIn(lease.lease_token, "\n".join(service.lines))

    def test_a_line_names_the_trace_that_the_caller_has_named(self):
        service, _ = self.start_talkative("schedulerd")
        traces = ("0af7651916cd43dd8448eb211c80319c", "4bf92f3577b34da6a3ce929d0e0e4736")
        call = service.channel.unary_unary("/parley.scheduler.v1.SchedulerService/ListTasks")
        call(b"", metadata=(("traceparent", f"00-{traces[0]}-b7ad6b7169203331-01"),))
        with self.assertRaises(grpc.RpcError):
            call(b"\xff", metadata=(("traceparent", f"00-{traces[0]}-b7ad6b7169203331-00"),))
        for bad in ((f"00-{traces[1]}-0000000000000000-01",),
                    (f"00-{traces[1]}-b7ad6b7169203331-01",) * 2):  # twice is as good as never
            call(b"", metadata=tuple(("traceparent", value) for value in bad))
        work = service.channel.stream_stream("/parley.scheduler.v1.WorkerService/Work")
        with self.assertRaises(grpc.RpcError):  # it begins without a hello
            list(work(iter([b""]),
                      metadata=(("traceparent", f"00-{traces[1]}-b7ad6b7169203331-01"),)))
        lines = harness.poll("the lines", lambda: (
            found := [line for line in service.log() if "grpc.method" in line]) and len(found) == 5
            and found)
        by_trace = collections.Counter(line["trace_id"] for line in lines)
        self.assertEqual((by_trace[traces[0]], by_trace[traces[1]]), (2, 1))
        self.assertEqual([line["grpc.method"] for line in lines
                          if line["trace_id"] == traces[1]], ["Work"])
        self.assertEqual(len({line["span_id"] for line in lines}), 5)
        self.assertEqual({line["grpc.request.deadline"] for line in lines}, {""})

    def test_the_level_says_what_is_written(self):
        service = self.start("schedulerd")  # at info
        service.tasks.ListTasks()
        harness.poll("the access line", lambda: self.access_lines(service))
        self.assertNotIn("debug", {line["level"] for line in service.log()})
        service.stop()
        harness.poll("its connections to end", lambda: self.database.connections() == 0)
        # At error it says nothing at all, so that it runs can only be seen in the database.
        quiet = harness.Service("schedulerd", self.database.url, "--log-level", "error",
                                wait=False)
        self.addCleanup(quiet.release)
        harness.poll("it to connect", self.database.connections)
        self.assertEqual(quiet.stop(), 0)
        self.assertEqual(quiet.lines, [])


if __name__ == "__main__":
    unittest.main()
