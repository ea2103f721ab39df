"""What is under way when a queue gets another target ends as the target says that it went to."""

import base64
import json
import unittest

import harness
from brokers import free_port
from push_cases import RUNNING, SUCCEEDED
from test_celery_redis import RedisCase, celery, track
from test_push_grpc import Handler, HandlerProcess, target as handler_target


class ChangeTest(RedisCase):
    counts = False  # tasks are made RUNNING behind the counters' back

    @classmethod
    def setUpClass(cls):
        cls.port = free_port()
        super().setUpClass()

    @classmethod
    def targets(cls):
        return (f"{super().targets()} elsewhere={cls.redis.url(3)};results={cls.redis.url(4)}"
                f" handler=grpc://127.0.0.1:{cls.port}")

    def setUp(self):
        super().setUp()
        self.next_queue = self.queue + ".next"  # the broker's, of the target that comes after

    def begin_with_celery(self):
        """A task that a worker has, and the worker, which waits for the test."""
        worker = self.worker(queue=self.queue)
        self.route(track(queue=self.queue))
        task = self.create("wait")
        harness.poll("the task to begin", worker.notes)
        self.age(task)
        return task, worker

    def assert_ends_with_celery(self, task, worker):
        self.assertEqual(self.get(task).state, RUNNING)
        worker.let_go()
        done = self.wait_for(task, SUCCEEDED)
        self.assertEqual((done.attempt, done.result), (1, b'"held"'))
        self.assertEqual(len([note for note in worker.notes() if note["task"] == "wait"]), 1)

    def age(self, task):
        """As if it had been claimed so long ago that it must have been handed over, or never will be."""
        self.database.rows("UPDATE tasks SET updated_at = now() - interval '1 minute'"
                           " WHERE id = %s", task.id)

    def messages_at(self, database):
        return [json.loads(text)
                for text in self.redis.client(database).lrange(self.next_queue, 0, -1)]

    def change(self, target, database, name="queue.test"):
        """Gives the queue a target, and waits until its keeper has looked at what was claimed."""
        self.route(target)
        markers = []

        def handed_over():  # by the next pusher, at last
            markers.append(self.create(name, [len(markers)]))
            return self.messages_at(database)
        [message, *_] = harness.poll("the next target to get tasks", handed_over)
        [number] = json.loads(base64.b64decode(message["body"]))[0]
        # Claimed for the same place and never handed over: whoever looks after the place finds it, if
        # not alone, then together with all that it takes for such.
        lost = self.create("lost", delay={"seconds": 3600})
        self.claim_long_ago(lost, self.place(markers[number]) + "0" * 16)
        harness.poll("what was not handed over to be so", lambda: any(
            message["headers"]["task"] == "lost" for message in self.messages_at(database)))

    def test_to_another_mode_of_the_same_celery(self):
        task, worker = self.begin_with_celery()
        self.change(celery(queue=self.next_queue), 1)
        self.assert_ends_with_celery(task, worker)

    def test_to_another_celery(self):
        task, worker = self.begin_with_celery()
        self.change({**track(queue=self.next_queue), "name": "elsewhere"}, 3)
        self.assert_ends_with_celery(task, worker)
        self.assertNotIn("wait", [m["headers"]["task"] for m in self.messages_at(3)])

    def lose_target(self):
        """The queue gets no tasks pushed any more."""
        self.unroute()

        def leased():
            self.create("queue.test")
            return self.schedulerd.workers.LeaseTasks(queues=[self.queue]).leases
        harness.poll("a worker to get tasks", leased)

    def test_to_none(self):
        task, worker = self.begin_with_celery()
        self.lose_target()
        self.assert_ends_with_celery(task, worker)

    def test_to_none_when_there_had_been_nothing_for_long(self):
        worker = self.worker(queue=self.queue)
        self.route(track(queue=self.queue))
        # What nothing is handed over to is left alone after ten seconds.
        begin = self.database.value("SELECT now()")
        harness.poll("the queue to have rested", lambda: self.database.value(
            "SELECT now() > %s + interval '12 s'", begin))
        task = self.create("wait")
        harness.poll("the task to begin", worker.notes)
        self.unroute()
        self.unroute()  # the servers look again
        self.assert_ends_with_celery(task, worker)

    def test_to_none_and_then_all_servers_are_killed(self):
        task, worker = self.begin_with_celery()
        self.lose_target()
        self.schedulerd.kill()
        type(self).schedulerd = self.start_schedulerd()
        type(self).tasks = self.tasks = self.schedulerd.tasks
        self.assert_ends_with_celery(task, worker)

    def test_from_a_handler_to_celery(self):
        handler = Handler()
        self.addCleanup(HandlerProcess(handler, self.port).stop)
        self.addCleanup(handler.go.set)
        self.route(handler_target(timeout=300))
        task = self.create("wait")
        harness.poll("the call to begin", handler.calls)
        self.age(task)
        self.change(celery(queue=self.next_queue), 1, "nothing")
        self.assertEqual(self.get(task).state, RUNNING)
        handler.go.set()
        done = self.wait_for(task, SUCCEEDED)
        self.assertEqual((done.attempt, done.result), (1, b"waited"))
        self.assertEqual(len(handler.calls("wait")), 1)
        self.assertNotIn("wait", [m["headers"]["task"] for m in self.messages_at(1)])

    def test_what_is_with_an_unknown_target_ends_with_its_lease_as_a_failed_attempt(self):
        task = self.create("queue.test", delay={"seconds": 3600}, max_attempts=2)
        self.claim_long_ago(task, "70757368" + "0" * 24)
        self.change(celery(queue=self.next_queue), 1)
        self.assertEqual(self.get(task).state, RUNNING)
        self.database.rows("UPDATE tasks SET lease_until = now() WHERE id = %s", task.id)
        failed = harness.poll("the attempt to fail", lambda: self.get(task).errors)
        self.assertEqual(len(failed), 1)
        self.retry_at_once(task)
        self.assertEqual(self.wait_for(task, SUCCEEDED).attempt, 2)


if __name__ == "__main__":
    unittest.main()
