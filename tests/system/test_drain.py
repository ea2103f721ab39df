"""SIGTERM: health first, then what runs finishes, then the process ends with 0."""

import signal
import unittest

import grpc

import harness
from watch import Watch
from worker import Worker, key

SERVING, NOT_SERVING = 1, 2


class DrainTest(harness.SystemTest, harness.People):
    runs = ("chatd",)

    def setUp(self):
        self.owner = self.new_user()
        self.chat = self.new_chat(self.owner)

    def begin_blocked(self, service, **fields):
        """A call that waits for the lock on the chat."""
        call = service.messages.begin("SendMessage", chat_id=self.chat.id, user_id=self.owner.id,
                                      text="blocked", **fields)
        # Bytes that are no request are refused at once, after what was sent before has come in.
        with self.assertRaises(grpc.RpcError):
            service.send_bytes("parley.message.v1.MessageService", "SendMessage", b"\xff")
        return call

    def check_refuses_connections(self, service):
        with self.assertRaises(grpc.FutureTimeoutError):
            grpc.channel_ready_future(service.new_channel()).result(timeout=1)

    def count(self):
        return self.database.value("SELECT count(*) FROM messages WHERE chat_id = %s",
                                   self.chat.id)

    def check_drain(self, number):
        service = self.start("messaged", "--drain-delay", "5s", "--drain-grace", "50s")
        watches = [service.health.Watch(service=name, timeout=None)
                   for name in ("", "parley.message.v1.MessageService")]
        self.assertEqual([next(watch).status for watch in watches], [SERVING, SERVING])
        with self.database.locked("chats", self.chat.id):
            blocked = self.begin_blocked(service)
            service.signal(number)
            self.assertEqual([next(reply.status for reply in watch if reply.status != SERVING)
                              for watch in watches], [NOT_SERVING, NOT_SERVING])
            for watch in watches:
                watch.cancel()  # a watch never ends by itself, and would use up the grace
            # Calls are still accepted, because the balancers have yet to see it.
            with self.assert_error("NOT_FOUND", "MESSAGE_NOT_FOUND"):
                service.messages.GetMessage(message_id=424242)
            harness.poll("the listener to close", lambda: not self.is_listening(service))
            self.assertIsNone(service.process.poll())
            self.assertFalse(blocked.done())
        self.assertEqual(blocked.result().text, "blocked")
        self.assertEqual(service.wait(), 0)
        self.check_refuses_connections(service)
        self.assertEqual(self.count(), 1)
        messages = [line["message"] for line in service.log()]
        self.assertLess(messages.index("draining"), messages.index("drained"))

    def is_listening(self, service):
        local = f"0100007F:{int(service.address.rsplit(':', 1)[1]):04X}"
        with open(f"/proc/{service.process.pid}/net/tcp", encoding="ascii") as table:
            return any(line.split()[1] == local and line.split()[3] == "0A" for line in table)

    def test_sigterm_drains(self):
        self.check_drain(signal.SIGTERM)

    def test_sigint_drains(self):
        self.check_drain(signal.SIGINT)

    def test_a_call_that_outlasts_the_grace_is_cancelled_and_the_process_ends(self):
        service = self.start("messaged", "--drain-grace", "1s")
        with self.database.locked("chats", self.chat.id):
            blocked = self.begin_blocked(service)
            service.signal(signal.SIGTERM)
            self.assertIn(blocked.exception().code(),
                          (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE))
            service.wait()
        self.assertEqual(self.count(), 0)

    def test_a_waiting_worker_is_sent_home(self):
        service = self.start("schedulerd", "--drain-grace", "50s")
        waiting = [service.workers.begin("LeaseTasks", queues=["drain"],
                                         wait_for={"seconds": 60}) for _ in range(3)]
        # An answered call says that those sent before have arrived.
        service.tasks.ListTasks()
        service.signal(signal.SIGTERM)
        for call in waiting:
            self.assertEqual(list(call.result().leases), [])
        self.assertEqual(service.wait(), 0)

    def test_while_balancers_have_yet_to_see_it_streams_are_refused_and_calls_are_not(self):
        service = self.start("messaged", "--drain-delay", "10s", "--drain-grace", "50s")
        health = service.health.Watch(service="", timeout=None)
        watch = Watch(service, chat_ids=[self.chat.id], heartbeat_interval={"seconds": 60})
        service.signal(signal.SIGTERM)
        next(reply for reply in health if reply.status != SERVING)
        health.cancel()
        late = Watch(service, chat_ids=[self.chat.id])
        late.join(harness.PATIENCE)
        self.check_failure(harness.Failure().read(late.error), "UNAVAILABLE", "DRAINING")
        # Those that are there go on, and so do calls.
        service.messages.SendMessage(chat_id=self.chat.id, user_id=self.owner.id, text="late")
        watch.wait_for(1)
        self.assertEqual(watch.texts(), ["late"])
        self.assertIsNone(watch.error)
        token = watch.token
        watch.join(harness.PATIENCE)
        self.check_failure(harness.Failure().read(watch.error), "UNAVAILABLE", "DRAINING")
        self.assertEqual(watch.token, token)
        self.assertEqual(watch.frames[-1], [], "no last frame")
        self.assertEqual(service.wait(), 0)

    def test_workers_are_refused_then_told_and_what_they_keep_is_handed_back(self):
        service = self.start("schedulerd", "--drain-delay", "6s", "--drain-grace", "2s")
        other = self.start("schedulerd")
        task = other.tasks.CreateTask(queue="handed", name="task")
        worker = Worker(service, ["handed"], credit=2,
                        hello={"lease_duration": {"seconds": 3600}})
        lease, = worker.wait_for("leases")
        health = service.health.Watch(service="", timeout=None)
        service.signal(signal.SIGTERM)
        next(reply for reply in health if reply.status != SERVING)
        health.cancel()
        late = Worker(service, ["handed"], credit=1)
        late.join(harness.PATIENCE)
        self.check_failure(harness.Failure().read(late.error), "UNAVAILABLE", "DRAINING")
        harness.poll("the drain", lambda: any(frame.drain for frame in worker.frames))
        self.assertIsNone(worker.ended)
        worker.join(harness.PATIENCE)  # it does not finish, so its stream is broken
        self.assertEqual(service.wait(), 0)
        # The attempt does not count: the server has ended it, not the worker.
        again, = other.workers.LeaseTasks(queues=["handed"], wait_for={"seconds": 30}).leases
        self.assertEqual((again.task.id, again.task.attempt), (task.id, lease.task.attempt))
        self.assertNotEqual(again.lease_token, lease.lease_token)
        other.workers.AckTask(**key(again))

    def test_a_call_that_never_finishes_cannot_keep_the_process(self):
        service = self.start("messaged", "--drain-grace", "1s")
        message = service.messages.SendMessage(chat_id=self.chat.id, user_id=self.owner.id,
                                               text="one")
        with self.database.locked("chats", self.chat.id):
            # It holds a thread and a connection until the database gives it up, in a minute.
            stuck = service.messages.begin(
                "UpdateMessage", message={"chat_id": self.chat.id, "seq": message.seq,
                                          "text": "two"}, user_id=self.owner.id)
            harness.poll("the call to wait for the lock", self.database.blocked_statements)
            service.signal(signal.SIGTERM)
            self.assertEqual(service.wait(), 1)
            self.assertIsNotNone(stuck.exception())
        self.assertIn("the drain did not end; giving up",
                      [line["message"] for line in service.log()])
        self.assertEqual(service.log()[-1]["level"], "error")

    def test_a_service_without_work_ends_at_once_with_0(self):
        for name in ("chatd", "messaged", "schedulerd"):
            self.assertEqual(self.start(name).stop(), 0)

    def test_what_is_sent_until_the_end_is_answered_or_refused_but_never_lost(self):
        service = self.start("messaged")
        answered = []

        def send(number):
            while True:
                try:
                    answered.append(service.messages.SendMessage(
                        chat_id=self.chat.id, user_id=self.owner.id, text=str(number)).id)
                except grpc.RpcError as error:
                    return error.code()
                if number == 0 and len(answered) >= 100:
                    service.signal(signal.SIGTERM)  # again is harmless

        codes = harness.in_threads(8, send)
        self.assertEqual(service.wait(), 0)
        # CANCELLED is gRPC's own word to a call that arrives while it shuts down.
        self.assertLessEqual(set(codes),
                             {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})
        self.assertEqual(self.count(), len(answered))


if __name__ == "__main__":
    unittest.main()
