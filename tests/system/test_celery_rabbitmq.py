"""Tasks that existing Celery workers run, handed over by RabbitMQ; results on Redis."""

import json
import unittest

import kombu

import harness
from brokers import CeleryWorker, RabbitMq, Redis
from push_cases import CANCELLED, DEAD, PENDING, RUNNING, SUCCEEDED, PushCase


def celery(mode="FIRE_AND_FORGET", queue="celery", result_timeout=600, name="workers"):
    return {"name": name, "celery": {
        "queue": queue, "mode": "MODE_" + mode, "result_timeout": {"seconds": result_timeout},
        "redis_priorities": False}}


def track(**options):
    return celery("TRACK_RESULT", **options)


class RabbitCase(PushCase):
    @classmethod
    def setUpClass(cls):
        cls.rabbit, cls.redis = shared_brokers()
        super().setUpClass()

    @classmethod
    def targets(cls):
        return (f"workers={cls.rabbit.url()};results={cls.redis.url(2)}"
                f" without-results={cls.rabbit.url()}"
                f" wrong-password={cls.rabbit.url().replace('9c2e', '9c2f')}")

    def worker(self, *options, **more):
        worker = CeleryWorker(self.rabbit.url(), self.redis.url(2), *options, queue=self.queue,
                              **more)
        self.addCleanup(worker.close)
        return worker

    def declare(self, queue=None, durable=True, **arguments):
        """A queue, as a worker or an operator declares it."""
        with kombu.Connection(self.rabbit.url()) as connection:
            kombu.Queue(queue or self.queue, durable=durable, queue_arguments=arguments)(
                connection.default_channel).declare()

    def take(self, queue=None):
        """Takes all messages out of a queue."""
        messages = []
        with kombu.Connection(self.rabbit.url()) as connection:
            bound = kombu.Queue(queue or self.queue)(connection.default_channel)
            while (message := bound.get(no_ack=True)) is not None:
                messages.append(message)
        return messages


_BROKERS = []


def shared_brokers():
    """One of each for all classes: RabbitMQ starts slowly."""
    if not _BROKERS:
        for kind in (RabbitMq, Redis):
            _BROKERS.append(kind())
            unittest.addModuleCleanup(_BROKERS[-1].close)
    return _BROKERS


class HandOffTest(RabbitCase):
    def test_a_task_is_done_when_rabbitmq_has_confirmed_it(self):
        self.declare()
        self.route(celery(queue=self.queue))
        task = self.create("queue.test", [1], {"a": 2}, priority=7, headers={"x-trace": "t"})
        self.assertEqual(self.wait_for(task, SUCCEEDED).attempt, 1)
        [message] = self.take()
        self.assertEqual(message.payload[:2], [[1], {"a": 2}])
        headers = message.headers
        self.assertEqual((headers["task"], headers["retries"], headers["x-trace"]),
                         ("queue.test", 0, "t"))
        self.assertEqual((headers["eta"], headers["timelimit"], headers["stamps"]),
                         (None, [None, None], {}))
        self.assertEqual(message.properties["correlation_id"], headers["id"])
        self.assertEqual((message.properties["priority"], message.properties["delivery_mode"]),
                         (7, 2))
        self.assert_nowhere(RabbitMq.PASSWORD, Redis.PASSWORD)

    def test_thousands_are_confirmed_in_batches(self):
        self.declare()
        self.route(celery(queue=self.queue))
        request = {"queue": self.queue, "name": "queue.test"}
        self.tasks.BatchCreateTasks(requests=[request] * 1000)
        self.tasks.BatchCreateTasks(requests=[request] * 1000)
        done = "SELECT count(*) FROM task_history WHERE queue = %s"
        harness.poll("all to be done", lambda: self.database.value(done, self.queue) == 2000)
        messages = self.take()
        self.assertEqual(len(messages), 2000)
        self.assertEqual(len({message.headers["id"] for message in messages}), 2000)

    def test_a_queue_that_nobody_has_declared_yet_is_waited_for(self):
        self.route(celery(queue=self.queue))
        task = self.create("queue.test")
        [outage] = harness.poll("the outage to be logged", self.outages)
        self.assertIn("NOT_FOUND", outage["error"])
        now = self.get(task)
        self.assertEqual((now.state, now.attempt), (PENDING, 0))
        self.declare(durable=False, **{"x-max-priority": 5})
        self.assertEqual(self.wait_for(task, SUCCEEDED).attempt, 1)
        self.assertEqual(len(self.take()), 1)

    def test_a_queue_that_is_full_is_waited_for(self):
        self.declare(**{"x-max-length": 3, "x-overflow": "reject-publish"})
        self.route(celery(queue=self.queue))
        for _ in range(3):
            self.wait_for(self.create("queue.test"), SUCCEEDED)
        tasks = [self.create("queue.test") for _ in range(3)]
        [outage] = harness.poll("the outage to be logged", self.outages)
        self.assertIn("takes no more", outage["error"])
        self.assertEqual([self.get(task).last_error for task in tasks], [""] * 3)
        # While the three are taken there may be room for another already.
        taken = self.take()
        self.assertGreaterEqual(len(taken), 3)
        for task in tasks:
            self.assertEqual(self.wait_for(task, SUCCEEDED).attempt, 1)
        taken += self.take()
        self.assertEqual(len({message.headers["id"] for message in taken}), len(taken))
        self.assertEqual(len(taken), 6)

    def test_a_queue_that_is_deleted_meanwhile_keeps_its_tasks(self):
        self.declare()
        self.route(celery(queue=self.queue))
        self.wait_for(self.create("queue.test"), SUCCEEDED)
        with kombu.Connection(self.rabbit.url()) as connection:
            connection.default_channel.queue_delete(self.queue)
        task = self.create("queue.test")
        harness.poll("the outage to be logged", self.outages)
        self.declare()
        self.assertEqual(self.wait_for(task, SUCCEEDED).attempt, 1)
        self.assertEqual(len(self.take()), 1)

    def test_a_wrong_password_is_logged_without_it(self):
        self.declare()
        self.route(celery(queue=self.queue, name="wrong-password"))
        self.create("queue.test")
        [outage] = harness.poll("the outage to be logged", self.outages)
        self.assertIn("ACCESS_REFUSED", outage["error"])
        self.assert_nowhere("rabbit:secret", "9c2f")

    def test_results_cannot_be_tracked_without_a_backend(self):
        with self.assert_error("INVALID_ARGUMENT", field="queue.target.name") as failure:
            self.route(track(queue=self.queue, name="without-results"))
        self.assertIn("no result backend", str(failure.status))


class WorkerTest(RabbitCase):
    def test_a_worker_runs_what_is_handed_over_with_its_arguments(self):
        worker = self.worker()
        self.route(celery(queue=self.queue))
        task = self.create("queue.test", [1, "\u00fc", 12345678901234567890123], {"k": [None, 1.5]},
                           headers={"x-trace": "t-1"})
        self.wait_for(task, SUCCEEDED)
        [note] = harness.poll("the task to run", worker.notes)
        self.assertEqual(note["args"], [1, "\u00fc", 12345678901234567890123])
        self.assertEqual(note["kwargs"], {"k": [None, 1.5]})
        self.assertEqual((note["retries"], note["trace"]), (0, "t-1"))

    def test_a_tracked_task_has_its_result_and_one_that_raises_is_dead(self):
        worker = self.worker()
        self.route(track(queue=self.queue))
        task = self.wait_for(self.create("queue.test", ["a"]), SUCCEEDED)
        self.assertEqual(json.loads(task.result), {"args": ["a"], "kwargs": {}})
        failing = self.create("fail", ["no"], max_attempts=2)
        harness.poll("the first attempt to fail", lambda: self.get(failing).errors)
        self.retry_at_once(failing)
        dead = self.wait_for(failing, DEAD)
        self.assertEqual([error.text for error in dead.errors], ["ValueError: no"] * 2)
        self.assertEqual([note["retries"] for note in worker.notes()], [0, 0, 1])

    def test_a_cancelled_task_is_not_begun(self):
        worker = self.worker("-P", "prefork", "-c", "1")
        self.route(track(queue=self.queue))
        first = self.create("wait")
        harness.poll("the first to begin", worker.notes)
        second = self.create("queue.test")
        harness.poll("the second to be handed over", lambda: self.get(second).state == RUNNING)
        self.tasks.CancelTask(task_id=second.id)
        harness.poll("the worker to hear of it", lambda: "flagged as revoked" in worker.log())
        worker.let_go()
        self.wait_for(first, SUCCEEDED)
        self.wait_for(second, CANCELLED)

    def test_a_worker_killed_with_acks_late_is_followed_by_another_at_once(self):
        worker = self.worker()
        self.route(track(queue=self.queue))
        task = self.create("wait_acks_late")
        harness.poll("the task to begin", worker.notes)
        worker.kill()
        worker.let_go()
        worker.start()
        done = self.wait_for(task, SUCCEEDED)
        self.assertEqual((done.attempt, done.result), (1, b'"held"'))
        self.assertEqual([note["retries"] for note in worker.notes()], [0, 0])

    def test_a_worker_killed_in_the_middle_costs_the_attempt(self):
        worker = self.worker()
        self.route(track(queue=self.queue))
        task = self.create("wait", max_attempts=1)
        harness.poll("the task to begin", worker.notes)
        worker.kill()
        self.time_is_up(task)
        self.assertEqual(self.wait_for(task, DEAD).last_error,
                         "no result from Celery within 10m")


class AlarmTest(RabbitCase):
    """RabbitMQ is there, and takes nothing."""

    def test_while_rabbitmq_is_low_on_memory_tasks_wait_and_no_attempt_is_counted(self):
        # One that is pushed before, and one that comes to be meanwhile, on a new connection.
        queues = [self.queue, self.queue + ".new"]
        for queue in queues:
            self.declare(queue)
        self.route(celery(queue=queues[0]), queues[0])
        self.wait_for(self.create("queue.test", [0]), SUCCEEDED)
        self.rabbit.run_low(True)
        self.addCleanup(self.rabbit.run_low, False)
        self.route(celery(queue=queues[1]), queues[1])
        tasks = [self.create("queue.test", [1 + i], queue=queue)
                 for queue in queues for i in range(20)]
        for queue in queues:
            [outage] = harness.poll("the outage to be logged", lambda q=queue: self.outages(queue=q))
            self.assertIn("low on memory", outage["error"])
        for task in tasks:
            now = harness.poll("it to be given back", lambda t=task: self.pending(t))
            self.assertEqual((now.attempt, now.last_error), (0, ""))
        self.rabbit.run_low(False)
        for task in tasks:
            done = self.wait_for(task, SUCCEEDED)
            self.assertEqual((done.attempt, len(done.errors)), (1, 0))
        for queue, first in zip(queues, (0, 1)):
            self.assertEqual(sorted(message.payload[0] for message in self.take(queue)),
                             [[i] for i in range(first, 21)])
            self.assertEqual(len(self.outages(queue=queue)), 1)

    def pending(self, task):
        now = self.get(task)
        return now if now.state == PENDING else None


class CrashTest(RabbitCase):
    def test_while_rabbitmq_is_down_tasks_stay_pending_and_none_is_pushed_twice(self):
        self.declare()
        self.route(celery(queue=self.queue))
        self.wait_for(self.create("queue.test", [0]), SUCCEEDED)
        self.rabbit.kill()
        tasks = [self.create("queue.test", [1 + i]) for i in range(50)]
        harness.poll("the outage to be logged", self.outages)
        self.rabbit.start()
        for task in tasks:
            now = self.wait_for(task, SUCCEEDED)
            self.assertEqual((now.attempt, now.last_error), (1, ""))
        self.assertEqual(sorted(message.payload[0] for message in self.take()),
                         [[i] for i in range(51)])
        self.assertEqual(len(self.outages()), 1)


if __name__ == "__main__":
    unittest.main()
