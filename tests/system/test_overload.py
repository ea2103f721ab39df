"""Deadlines and full queues: what is late or too much does no work.

A row lock held by the test is what calls wait for: a chat's row, which every SendMessage changes.
"""

import concurrent.futures
import unittest

import grpc

import harness


class OverloadTest(harness.SystemTest, harness.People):
    runs = ("chatd",)

    def setUp(self):
        self.owner = self.new_user()
        self.chat = self.new_chat(self.owner)

    def begin(self, service, text, **fields):
        return service.messages.begin("SendMessage", chat_id=self.chat.id, user_id=self.owner.id,
                                      text=text, **fields)

    def wait_until_blocked(self, statements=1):
        harness.poll("a statement to wait for the lock",
                     lambda: self.database.blocked_statements() == statements)

    def texts(self):
        return {text for text, in self.database.rows(
            "SELECT text FROM messages WHERE chat_id = %s", self.chat.id)}

    def wait_for_what_was_sent(self, service):
        """Bytes that are no request are refused without the queue, after what was sent before."""
        with self.assertRaises(grpc.RpcError):
            service.send_bytes("parley.message.v1.MessageService", "SendMessage", b"\xff")

    def begin_and_block(self, service, text, timeout):
        """A call whose statement waits for the lock. One that is late before that is made again."""
        while True:
            call = self.begin(service, text, timeout=timeout)
            harness.poll("a statement to wait for the lock, or to be too late for it",
                         lambda call=call: self.database.blocked_statements() == 1 or call.done())
            if not call.done():
                return call

    def check_ends_by_the_server(self, service, timeout):
        with self.database.locked("chats", self.chat.id):
            call = self.begin_and_block(service, "too late", timeout)
            failure = harness.Failure().read(call.exception(timeout=harness.PATIENCE))
            self.check_failure(failure, "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED")
            harness.poll("the statement to be gone",
                         lambda: self.database.blocked_statements() == 0)
        self.assertEqual(self.begin(service, "after").result().seq, 1)
        self.assertEqual(self.texts(), {"after"})

    def test_a_call_without_a_deadline_gets_the_servers(self):
        self.check_ends_by_the_server(
            self.start("messaged", "--default-deadline", "1s"), timeout=None)

    def test_a_long_deadline_is_shortened_to_the_servers(self):
        self.check_ends_by_the_server(
            self.start("messaged", "--max-deadline", "1s"), timeout=1000)

    def test_the_callers_deadline_ends_the_statement_too(self):
        service = self.start("messaged")
        with self.database.locked("chats", self.chat.id):
            call = self.begin(service, "too late", timeout=1.5)
            self.wait_until_blocked()
            self.assertEqual(call.exception().code(), grpc.StatusCode.DEADLINE_EXCEEDED)
            harness.poll("the statement to be gone",
                         lambda: self.database.blocked_statements() == 0)
        self.assertEqual(self.begin(service, "after").result().seq, 1)
        self.assertEqual(self.texts(), {"after"})

    def test_a_full_queue_refuses_at_once_and_says_when_to_come_again(self):
        service = self.start("messaged", "--queue", "1")  # five for the lane that sends
        with self.database.locked("chats", self.chat.id):
            running = self.begin(service, "0")
            self.wait_until_blocked()
            others = [self.begin(service, str(i)) for i in range(1, 20)]
            # What is being tried at that moment does not count.
            refused = harness.poll("most calls to be refused", lambda: (
                lambda done: done if len(done) >= 19 - 2 * 5 else None)(
                    [c for c in others if c.done()]))
            for call in refused:
                failure = harness.Failure().read(call.exception())
                self.check_failure(failure, "RESOURCE_EXHAUSTED", "QUEUE_FULL")
                self.assertGreater(failure.retry_delay, 0)
            self.assertFalse(running.done())
        accepted = [c for c in [running, *others] if c.exception() is None]
        self.assertEqual(sorted(call.result().seq for call in accepted),
                         list(range(1, len(accepted) + 1)))
        self.assertEqual(len(self.texts()), len(accepted))

    def test_a_full_queue_of_a_worker_refuses_too(self):
        service = self.start("messaged", "--workers", "1", "--queue", "1")
        message = self.begin(service, "x").result()
        edit = {"message": {"id": message.id, "text": "y"}, "user_id": self.owner.id}
        with self.database.locked("chats", self.chat.id):
            running = service.messages.begin("UpdateMessage", **edit)
            self.wait_until_blocked()
            others = [service.messages.begin("UpdateMessage", **edit) for _ in range(5)]
            refused = harness.poll("all but the queued call to be refused", lambda: (
                lambda done: done if len(done) == 4 else None)([c for c in others if c.done()]))
            for call in refused:
                failure = harness.Failure().read(call.exception())
                self.check_failure(failure, "RESOURCE_EXHAUSTED", "QUEUE_FULL")
        self.assertEqual(running.result().revision, 2)

    def test_a_late_call_in_the_queue_does_no_work(self):
        service = self.start("messaged", "--workers", "1", "--queue", "10")
        with self.database.locked("chats", self.chat.id):
            running = self.begin(service, "running")
            self.wait_until_blocked()
            late = self.begin(service, "late", timeout=0.5)
            self.assertEqual(late.exception().code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        self.assertEqual(running.result().seq, 1)
        # First come, first served: once this one is through, the late one has had its turn.
        self.assertEqual(self.begin(service, "next").result().seq, 2)
        self.assertEqual(self.texts(), {"running", "next"})

    def test_a_cancelled_call_in_the_queue_does_no_work(self):
        service = self.start("messaged", "--workers", "1", "--queue", "10")
        with self.database.locked("chats", self.chat.id):
            running = self.begin(service, "running")
            self.wait_until_blocked()
            cancelled = [self.begin(service, f"cancelled {i}") for i in range(5)]
            self.wait_for_what_was_sent(service)
            for call in cancelled:
                call.cancel()
            self.wait_for_what_was_sent(service)
        self.assertEqual(running.result().seq, 1)
        self.assertEqual(self.begin(service, "next").result().seq, 2)
        self.assertEqual(self.texts(), {"running", "next"})

    def test_health_is_answered_and_stays_while_all_workers_wait(self):
        service = self.start("messaged", "--workers", "1", "--queue", "1")
        watch = service.health.Watch(service="", timeout=None)
        serving = harness.health_pb2.HealthCheckResponse.SERVING
        states = concurrent.futures.ThreadPoolExecutor(1).submit(self.states, watch)
        with self.database.locked("chats", self.chat.id):
            call = self.begin(service, "too late", timeout=4)
            self.wait_until_blocked()
            harness.poll("the call to end", lambda: self.still_healthy(service) and call.done())
        watch.cancel()
        self.assertEqual(set(states.result()), {serving})

    def still_healthy(self, service):
        self.assertEqual((service.health_of(""), service.health_of("live")),
                         ("SERVING", "SERVING"))
        return True

    @staticmethod
    def states(watch):
        seen = []
        try:
            for reply in watch:
                seen.append(reply.status)
        except grpc.RpcError:
            pass
        return seen


if __name__ == "__main__":
    unittest.main()
