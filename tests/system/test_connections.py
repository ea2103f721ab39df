"""What a server grants a connection, how long, and how it takes leave of it."""

import time
import unittest

import grpc
from h2.errors import ErrorCodes

import harness
import raw_http2
from proxy import Road
from watch import Watch
from worker import Worker, key

PERMITTED = 5.2  # seconds between the pings of a caller; a little more than servers ask for


class ContractTest(harness.SystemTest, harness.People):
    runs = ("chatd",)

    def connect(self):
        connection = raw_http2.Connection(self.chatd.address)
        self.addCleanup(connection.socket.close)
        return connection

    def test_the_bounds_are_announced(self):
        self.assertEqual(self.connect().bounds(), (1000, 8192))

    def test_who_asks_now_and_then_is_answered_and_who_asks_all_the_time_is_sent_away(self):
        patient, impatient = self.connect(), self.connect()
        self.assertTrue(patient.ping())
        while impatient.ping():
            pass
        self.assertEqual(impatient.error, ErrorCodes.ENHANCE_YOUR_CALM)
        for _ in range(3):  # gRPC forgives two pings that come too early, and no third
            time.sleep(PERMITTED)
            self.assertTrue(patient.ping(), patient.error)


class AgeTest(harness.SystemTest, harness.People):
    runs = ("chatd", "messaged")

    def setUp(self):
        self.owner = self.new_user()
        self.chat = self.new_chat(self.owner)

    def start_young(self, name):
        """A service whose connections do not grow old."""
        return self.start(name, "--max-connection-age", "1s", "--max-deadline", "30s")

    def behind_road(self, service):
        """Calls `service` by a road that counts its connections."""
        host, port = service.address.rsplit(":", 1)
        road = Road(host, int(port))
        self.addCleanup(road.cut)
        channel = grpc.insecure_channel(f"127.0.0.1:{road.port}", options=[
            ("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)])
        self.addCleanup(channel.close)
        return road, harness.Client(channel, *harness.CLIENTS["messaged"]["messages"])

    def test_connections_are_renewed_and_no_call_notices(self):
        service = self.start_young("messaged")
        road, messages = self.behind_road(service)
        message = {"chat_id": self.chat.id, "user_id": self.owner.id, "text": "hello"}
        with self.database.locked("chats", self.chat.id):
            long = messages.begin("SendMessage", **message)  # outlives its connection's age
            until = time.monotonic() + 3.5
            while time.monotonic() < until:
                messages.GetUnreadCounts(user_id=self.owner.id)
        self.assertEqual(long.result().text, "hello")
        self.assertGreaterEqual(road.accepted, 3)

    def test_a_watch_moves_on_before_its_connection_is_ended(self):
        service = self.start_young("messaged")
        watch = Watch(service, chat_ids=[self.chat.id],
                      heartbeat_interval={"seconds": 60})
        service.messages.SendMessage(chat_id=self.chat.id, user_id=self.owner.id, text="one")
        watch.join(harness.PATIENCE)
        self.check_failure(harness.Failure().read(watch.error), "UNAVAILABLE", "STREAM_TOO_OLD")
        self.assertEqual(watch.texts(), ["one"])
        self.messages.SendMessage(chat_id=self.chat.id, user_id=self.owner.id, text="two")
        again = Watch(service, chat_ids=[self.chat.id], resume_token=watch.token)
        again.wait_for(1)
        self.assertEqual(again.texts(), ["two"])
        again.leave()

    def test_a_worker_is_asked_to_move_on_and_may_finish_what_it_has(self):
        service = self.start_young("schedulerd")
        task = service.tasks.CreateTask(queue="age", name="task")
        worker = Worker(service, ["age"], credit=2)
        lease, = worker.wait_for("leases")
        harness.poll("the drain", lambda: any(frame.drain for frame in worker.frames))
        service.tasks.CreateTask(queue="age", name="task")  # for others
        worker.tell(acks=[key(lease)])
        self.assertEqual(worker.wait_for("settled_task_ids"), [task.id])
        self.assertIsNone(worker.leave())
        self.assertEqual(len(worker.told("leases")), 1)


if __name__ == "__main__":
    unittest.main()
