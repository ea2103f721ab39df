"""Tasks that existing Celery workers run, handed over by Redis."""

import base64
import datetime
import json
import time
import unittest
import zoneinfo

import harness
from brokers import AnswerThief, CeleryWorker, Redis
from database import skew
from push_cases import CANCELLED, DEAD, EXPIRED, PENDING, RUNNING, SUCCEEDED, PushCase

HOUR = 3600


def celery(mode="FIRE_AND_FORGET", queue="celery", result_timeout=600, priorities=False):
    return {"name": "workers", "celery": {
        "queue": queue, "mode": "MODE_" + mode, "result_timeout": {"seconds": result_timeout},
        "redis_priorities": priorities}}


def track(**options):
    return celery("TRACK_RESULT", **options)


class RedisCase(PushCase):
    @classmethod
    def setUpClass(cls):
        cls.redis = Redis()
        cls.addClassCleanup(cls.redis.close)
        cls.thief = AnswerThief(cls.redis.port)
        cls.addClassCleanup(cls.thief.close)
        super().setUpClass()

    @classmethod
    def targets(cls):
        return (f"workers={cls.redis.url(1)};results={cls.redis.url(2)}"
                f"\n other=grpc://127.0.0.1:1"
                f" thief={cls.redis.url(1).replace(str(cls.redis.port), str(cls.thief.port))}"
                f";results={cls.redis.url(2)}")

    def worker(self, *options, **more):
        worker = CeleryWorker(self.redis.url(1), self.redis.url(2), *options, **more)
        self.addCleanup(worker.close)
        return worker

    def messages(self, queue="celery"):
        """What waits in the broker, the next one to be served first."""
        return [json.loads(text) for text in self.redis.client(1).lrange(queue, 0, -1)][::-1]

    def place(self, task):
        """How the tokens of leases begin for the place to which a task was handed over."""
        return self.database.value("SELECT left(replace(lease_token::text, '-', ''), 16)"
                                   " FROM all_tasks WHERE id = %s", task.id)

    def claim_long_ago(self, task, token):
        """As a schedulerd leaves it that is killed: a lease of a pusher's, an old claim."""
        self.database.rows(
            "UPDATE tasks SET state = 'running', attempt = 1, lease_token = %s, run_at = now(),"
            " lease_until = now() + interval '1 hour',"
            " updated_at = now() - interval '1 minute' WHERE id = %s", token, task.id)


class HandOffTest(RedisCase):
    """FIRE_AND_FORGET, without a worker: the messages as they are."""

    def setUp(self):
        super().setUp()
        self.broker_queue = self.queue
        self.route(celery(queue=self.broker_queue))

    def pushed(self):
        return self.messages(self.broker_queue)

    def test_a_task_is_done_when_redis_has_it(self):
        task = self.wait_for(self.create("queue.test", [1], {"a": 2}, headers={"x-trace": "t"}),
                             SUCCEEDED)
        self.assertEqual((task.attempt, task.result), (1, b""))
        [message] = self.pushed()
        self.assertEqual(json.loads(base64.b64decode(message["body"]))[:2], [[1], {"a": 2}])
        self.assertEqual(message["headers"]["task"], "queue.test")
        self.assertEqual(message["headers"]["x-trace"], "t")
        self.assertEqual(message["headers"]["id"], message["properties"]["correlation_id"])
        self.assertEqual(message["headers"]["retries"], 0)
        # What was written down for the hand-off is not needed any more.
        harness.poll("the ledger to be empty",
                     lambda: not self.redis.client(1).keys("parley:sent:*"))
        self.assert_nowhere(Redis.PASSWORD)

    def test_tasks_are_handed_over_when_they_are_due_and_not_before(self):
        before = time.time()
        task = self.create("queue.test", delay={"seconds": 1})
        pushed = self.pushed()
        if time.time() < before + 1:
            self.assertEqual(pushed, [])
        done = self.wait_for(task, SUCCEEDED)
        self.assertGreaterEqual(done.update_time.ToMicroseconds() / 1e6, before + 1)
        self.assertEqual(len(self.pushed()), 1)

    def test_ids_differ_and_a_cancelled_task_is_never_handed_over(self):
        later = self.create("queue.test", delay={"seconds": 3600})
        self.tasks.CancelTask(task_id=later.id)
        for task in [self.create("queue.test") for _ in range(20)]:
            self.wait_for(task, SUCCEEDED)
        messages = self.pushed()
        self.assertEqual(len({message["headers"]["id"] for message in messages}), 20)
        self.assertEqual(len({message["properties"]["delivery_tag"] for message in messages}), 20)

    def test_a_payload_that_is_no_call_fails_for_good_and_says_why(self):
        for payload, why in ((b"\x00\xff", "not a JSON object"), (b"[1, 2]", "not a JSON object"),
                             (b'{"args": 1}', "args is no array"),
                             (b'{"to": "ann"}', "other members")):
            with self.subTest(payload=payload):
                task = self.wait_for(self.create("queue.test", payload=payload), DEAD)
                self.assertEqual(task.attempt, 1)
                self.assertIn(why, task.last_error)
        self.assertEqual(self.pushed(), [])

    def test_priorities_go_to_the_lists_of_kombu_if_they_are_to(self):
        self.wait_for(self.create("queue.test", priority=5), SUCCEEDED)
        self.assertEqual([m["properties"]["priority"] for m in self.pushed()], [0])
        self.route(celery(queue=self.broker_queue, priorities=True))
        expected = {0: "\x06\x169", 1: "\x06\x166", 4: "\x06\x163", 9: ""}

        def handed_over():  # until the new target is known
            for priority in expected:
                self.wait_for(self.create("queue.test", priority=priority), SUCCEEDED)
            return all(self.messages(self.broker_queue + list_) for list_ in expected.values())
        harness.poll("the lists to be used", handed_over)
        for priority, list_ in expected.items():
            last = self.messages(self.broker_queue + list_)[-1]
            self.assertEqual(last["properties"]["priority"], 9 - priority)

    def test_a_list_that_is_none_keeps_tasks_pending(self):
        client = self.redis.client(1)
        client.set(self.broker_queue, "not a list")
        task = self.create("queue.test")
        [outage] = harness.poll("the outage to be logged", self.outages)
        self.assertIn("WRONGTYPE", outage["error"])
        # It may just be tried again.
        harness.poll("it to be pending", lambda: self.get(task).state == PENDING)
        client.delete(self.broker_queue)
        done = self.wait_for(task, SUCCEEDED)
        self.assertEqual((done.attempt, len(done.errors)), (1, 0))
        self.assertEqual(len(self.pushed()), 1)

    def test_a_target_that_the_server_does_not_know_is_refused(self):
        for name in ("nobody", "other"):
            with self.assert_error("INVALID_ARGUMENT", field="queue.target.name"):
                self.route({**celery(), "name": name})

    def test_a_server_that_does_not_know_the_target_leaves_the_queue_alone(self):
        others = self.start("schedulerd", env={"PARLEY_TARGETS": "others=grpc://127.0.0.1:1"})
        message = "a queue is left to other servers to push"
        harness.poll("it to be logged", lambda: self.outages(others, message))
        for _ in range(20):
            self.wait_for(others.tasks.CreateTask(queue=self.queue, name="queue.test"), SUCCEEDED)
        self.assertEqual(len(self.outages(others, message)), 1)
        self.assertEqual(self.outages(message=message), [])
        self.assertEqual(len(self.pushed()), 20)

    def test_a_queue_that_loses_its_target_is_for_workers_again(self):
        self.wait_for(self.create("queue.test"), SUCCEEDED)
        self.unroute()

        def leased():
            self.create("queue.test")
            return self.schedulerd.workers.LeaseTasks(queues=[self.queue]).leases
        harness.poll("a worker to get tasks", leased)


class WorkerTest(RedisCase):
    """A real worker, which knows nothing of us. One for all tests: it takes seconds to start one."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.shared_worker = CeleryWorker(cls.redis.url(1), cls.redis.url(2), "-P", "prefork", "-c", "1")
        cls.addClassCleanup(cls.shared_worker.close)

    def worker(self):
        self.shared_worker.forget()
        return self.shared_worker

    def test_a_worker_runs_what_is_handed_over_with_its_arguments(self):
        self.route(celery())
        worker = self.worker()
        task = self.create("queue.test", [1, "\u00fc", 12345678901234567890123], {"k": [None, 1.5]},
                           headers={"x-trace": "t-1"})
        self.wait_for(task, SUCCEEDED)
        [note] = harness.poll("the task to run", worker.notes)
        self.assertEqual(note["args"], [1, "\u00fc", 12345678901234567890123])
        self.assertEqual(note["kwargs"], {"k": [None, 1.5]})
        self.assertEqual((note["retries"], note["trace"]), (0, "t-1"))

    def test_the_originals_delayed_task_is_one_call(self):
        # send_celery_task(begin_datetime): the zone is that of TZ, the workers' as well as ours.
        zone = "America/St_Johns"
        service = self.start("schedulerd", env={"TZ": zone, "PARLEY_TARGETS": self.targets()})
        self.route(celery())
        worker = self.worker()
        begin = datetime.datetime.now(zoneinfo.ZoneInfo(zone)) + datetime.timedelta(seconds=2)
        task = service.tasks.CreateTask(
            queue=self.queue, name="queue.test",
            local_time={"date_time": begin.replace(tzinfo=None, fold=0).isoformat(),
                        "fold_policy": 1 + begin.fold})
        self.assertEqual(task.local_time.time_zone, zone)
        [note] = harness.poll("the task to run", worker.notes)
        self.assertGreaterEqual(note["at"], begin.timestamp())
        self.assertEqual((note["args"], note["kwargs"]), ([], {}))
        self.wait_for(task, SUCCEEDED)

    def test_a_tracked_task_has_its_result(self):
        self.route(track())
        task = self.wait_for(self.create("queue.test", ["a"], {"b": 1}), SUCCEEDED)
        self.assertEqual(json.loads(task.result), {"args": ["a"], "kwargs": {"b": 1}})
        self.assertEqual(task.attempt, 1)

    def test_a_tracked_task_is_running_until_it_is_done(self):
        self.route(track())
        worker = self.worker()
        task = self.create("wait")
        harness.poll("the task to begin", worker.notes)
        self.assertEqual(self.get(task).state, RUNNING)
        worker.let_go()
        self.assertEqual(self.wait_for(task, SUCCEEDED).result, b'"held"')

    def test_an_exception_is_a_failed_attempt_and_our_policy_retries(self):
        self.route(track())
        worker = self.worker()
        task = self.create("fail", ["it is \u00fcber"], max_attempts=3)
        for attempt in (1, 2):
            failed = harness.poll("the attempt to fail", lambda a=attempt: self.failed(task, a))
            self.assertEqual(failed.last_error, "ValueError: it is \u00fcber")
            self.assertGreater(failed.run_time.ToMicroseconds(),
                               failed.update_time.ToMicroseconds())
            self.retry_at_once(task)
        dead = self.wait_for(task, DEAD)
        self.assertEqual([(error.attempt, error.text) for error in dead.errors],
                         [(n, "ValueError: it is \u00fcber") for n in (1, 2, 3)])
        notes = worker.notes()
        self.assertEqual([note["retries"] for note in notes], [0, 1, 2])
        self.assertEqual(len({note["id"] for note in notes}), 1)

    def failed(self, task, attempt):
        now = self.get(task)
        return now if len(now.errors) == attempt else None

    def test_a_task_that_succeeds_at_last_has_the_last_result(self):
        self.route(track())
        task = self.create("fail_twice")
        for attempt in (1, 2):
            harness.poll("the attempt to fail", lambda a=attempt: self.failed(task, a))
            self.retry_at_once(task)
        done = self.wait_for(task, SUCCEEDED)
        self.assertEqual((done.attempt, done.result), (3, b'"at last"'))

    def test_a_dead_task_can_be_driven_again(self):
        self.route(track())
        task = self.create("fail", ["no"], max_attempts=1)
        self.wait_for(task, DEAD)
        self.tasks.RedriveTask(task_id=task.id)
        again = harness.poll("it to fail again", lambda: self.failed(task, 2))
        self.assertEqual(again.state, DEAD)

    def test_retries_of_celerys_own_are_waited_for(self):
        self.route(track())
        worker = self.worker()
        task = self.wait_for(self.create("retry_itself"), SUCCEEDED)
        self.assertEqual((task.attempt, task.result), (1, b"2"))
        self.assertEqual(len(worker.notes()), 3)

    def test_an_unknown_task_fails(self):
        self.route(track())
        task = self.create("no.such.task", max_attempts=1)
        self.assertIn("NotRegistered", self.wait_for(task, DEAD).last_error)

    def test_a_result_that_is_too_large_is_left_in_celery(self):
        self.route(track())
        fits = self.create("big", [256 * 1024 - 2])
        too_large = self.create("big", [256 * 1024 - 1])
        self.assertEqual(len(self.wait_for(fits, SUCCEEDED).result), 256 * 1024)
        self.assertEqual(self.wait_for(too_large, SUCCEEDED).result, b"")

    def test_no_result_in_time_is_a_failed_attempt(self):
        self.route(track(queue="nobody", result_timeout=1))
        task = self.create("queue.test", max_attempts=1)
        dead = self.wait_for(task, DEAD)
        self.assertEqual(dead.last_error, "no result from Celery within 1s")
        self.assertEqual(len(self.messages("nobody")), 1)

    def test_a_cancelled_task_is_not_begun(self):
        self.route(track())
        worker = self.worker()
        first = self.create("wait")
        harness.poll("the first to begin", worker.notes)
        second = self.create("queue.test")
        harness.poll("the second to be handed over", lambda: self.get(second).state == RUNNING)
        self.assertTrue(self.tasks.CancelTask(task_id=second.id).cancel_requested)
        harness.poll("the worker to hear of it", lambda: "flagged as revoked" in worker.log())
        worker.let_go()
        self.wait_for(first, SUCCEEDED)
        self.wait_for(second, CANCELLED)
        self.assertEqual([note["task"] for note in worker.notes()], ["wait"])

    def test_a_task_that_is_revoked_in_celery_is_dead(self):
        self.route(track())
        worker = self.worker()
        first = self.create("wait")
        [note] = harness.poll("the first to begin", worker.notes)
        second = self.create("queue.test")
        second_id = harness.poll("the second to be handed over",
                                 lambda: worker.received() - {note["id"]}).pop()
        worker.revoke(second_id)
        worker.let_go()
        self.wait_for(first, SUCCEEDED)
        self.assertIn("revoked in Celery", self.wait_for(second, DEAD).last_error)


class ExpiryTest(RedisCase):
    """What has expired for Celery has not yet for us: the database's clock is an hour behind."""

    @classmethod
    def new_database(cls):
        database = super().new_database()
        skew(database, -1)
        return database

    def test_a_task_that_expires_in_the_broker_is_expired_when_the_database_says_so(self):
        self.route(track())
        worker = self.worker()
        expires = int(time.time() - HOUR) + 4
        task = self.create("queue.test", expire_time={"seconds": expires})
        harness.poll("the worker to refuse it", lambda: "Discarding revoked task" in worker.log())
        self.wait_for(task, EXPIRED)
        self.assertGreaterEqual(time.time() - HOUR, expires)
        self.assertEqual(worker.notes(), [])
        # It was with Celery all the time, and not handed over again and again.
        self.assertEqual(len(worker.received()), 1)
        self.assertEqual(worker.log().count(" received"), 1)


class CrashTest(RedisCase):
    """Workers, Redis and schedulerd are killed."""

    counts = False

    def setUp(self):
        super().setUp()
        self.redis.client(1).flushdb()

    def test_a_worker_killed_in_the_middle_costs_the_attempt(self):
        self.route(track())
        worker = self.worker()
        task = self.create("wait")
        harness.poll("the task to begin", worker.notes)
        worker.kill()  # it had acknowledged the message when it began
        self.time_is_up(task)
        failed = harness.poll("the attempt to fail", lambda: self.get(task).last_error)
        self.assertEqual(failed, "no result from Celery within 10m")
        worker.let_go()
        worker.start()
        self.retry_at_once(task)
        done = self.wait_for(task, SUCCEEDED)
        self.assertEqual((done.attempt, done.result), (2, b'"held"'))

    def test_with_acks_late_celery_delivers_again_itself(self):
        self.route(track())
        # Celery's own time until the message of a worker that is gone is for others.
        worker = self.worker(transport={"visibility_timeout": 1})
        task = self.create("wait_acks_late")
        harness.poll("the task to begin", worker.notes)
        worker.kill()
        worker.let_go()
        # A worker looks for such messages when it starts, and then not before two minutes have passed.
        harness.poll("the message to be for others", lambda: self.redis.client(1).zcount(
            "unacked_index", 0, time.time() - 1))
        worker.start()
        done = self.wait_for(task, SUCCEEDED)
        self.assertEqual((done.attempt, done.result), (1, b'"held"'))
        self.assertEqual([note["retries"] for note in worker.notes()], [0, 0])

    def test_while_redis_is_down_tasks_stay_pending_and_none_is_pushed_twice(self):
        self.route(celery())
        self.wait_for(self.create("queue.test"), SUCCEEDED)
        self.redis.kill()
        tasks = [self.create("queue.test", [i]) for i in range(50)]
        harness.poll("the outage to be logged", self.outages)
        later = [self.create("queue.test", [50 + i]) for i in range(50)]
        for task in tasks + later:
            now = self.get(task)
            self.assertIn(now.state, (PENDING, RUNNING))
            self.assertEqual(now.last_error, "")
        self.redis.start()
        for task in tasks + later:
            self.assertEqual(self.wait_for(task, SUCCEEDED).attempt, 1)
        arguments = [json.loads(base64.b64decode(m["body"]))[0] for m in self.messages()]
        self.assertEqual(sorted(arguments), [[]] + [[i] for i in range(100)])
        self.assertEqual(len(self.outages()), 1)
        self.assertEqual(len(self.outages(message="pushing goes on")), 1)

    def test_an_answer_that_is_lost_is_no_second_hand_off(self):
        # The first time it is asked again on another connection; then the ledger tells.
        for stolen in (1, 2):
            for mode in (celery(), track()):
                with self.subTest(stolen=stolen, mode=mode):
                    queue = f"{self.queue}.{stolen}.{mode['celery']['mode']}"
                    self.redis.client(1).flushdb()
                    self.route({**mode, "name": "thief"}, queue)
                    self.wait_for(self.create("no call", queue=queue, payload=b"x"), DEAD)
                    self.thief.steal("EVAL", stolen)
                    task = self.create("queue.test", queue=queue)
                    harness.poll("the answer to be stolen", self.thief.stolen_all)
                    if mode == celery():
                        self.assertEqual(self.wait_for(task, SUCCEEDED).attempt, 1)
                    else:
                        worker = self.worker()
                        self.assertEqual(self.wait_for(task, SUCCEEDED).attempt, 1)
                        self.assertEqual(len(worker.notes()), 1)
                        worker.close()
                        continue
                    self.assertEqual(len(self.messages()), 1)

    def test_a_storm_of_redis_crashes_loses_nothing_and_pushes_nothing_twice(self):
        self.route(celery())
        other = self.start("schedulerd", env={"PARLEY_TARGETS": self.targets()})
        count = 600
        for i in range(count):
            (self.tasks, other.tasks)[i % 2].CreateTask(
                queue=self.queue, name="queue.test", payload=json.dumps({"args": [i]}).encode(),
                delay={"nanos": i * 5_000_000 % 1_000_000_000, "seconds": i // 200})
        done = "SELECT count(*) FROM task_history WHERE queue = %s AND state = 'succeeded'"
        for share in (count // 8, count // 4, count // 2):
            harness.poll("some to be pushed",
                         lambda s=share: self.database.value(done, self.queue) >= s)
            self.redis.kill()
            self.redis.start()
        harness.poll("all to be pushed", lambda: self.database.value(done, self.queue) == count)
        arguments = [json.loads(base64.b64decode(m["body"]))[0][0] for m in self.messages()]
        self.assertEqual(sorted(arguments), list(range(count)))

    def test_schedulerd_killed_while_it_tracks_loses_no_result(self):
        doomed = self.start("schedulerd", env={"PARLEY_TARGETS": self.targets()})
        self.route(track())
        worker = self.worker()
        tasks = [self.create("wait") for _ in range(3)]
        harness.poll("the first to begin", worker.notes)
        harness.poll("all to be handed over",
                     lambda: all(self.get(task).state == RUNNING for task in tasks))
        doomed.kill()
        self.schedulerd.kill()
        worker.let_go()
        harness.poll("all to have run", lambda: len(worker.notes("ended")) == 3)
        type(self).schedulerd = self.start_schedulerd()
        type(self).tasks = self.tasks = self.schedulerd.tasks
        for task in tasks:
            done = self.wait_for(task, SUCCEEDED)
            self.assertEqual((done.attempt, done.result), (1, b'"held"'))
        self.assertEqual(len(worker.notes()), 3)

    def test_what_was_claimed_and_not_handed_over_is_released(self):
        for mode in (celery(), track()):
            with self.subTest(mode=mode):
                self.redis.client(1).flushdb()
                queue = self.queue + mode["celery"]["mode"]
                self.route(mode, queue)
                before = self.create("queue.test", queue=queue)
                harness.poll("one to be handed over", self.messages)
                self.redis.client(1).delete("celery")
                sent, unsent = (self.create("queue.test", [n], queue=queue,
                                            delay={"seconds": 3600}) for n in (1, 2))
                for number, task in enumerate((sent, unsent)):
                    token = self.place(before) + f"{number:016x}"
                    if task is sent:
                        self.redis.client(self.ledger).set(f"parley:sent:{task.id}:{token}", "sent")
                    self.claim_long_ago(task, token)
                released = harness.poll("it to be handed over", self.messages)
                [body] = [json.loads(base64.b64decode(m["body"]))[0] for m in released]
                self.assertEqual(body, [2])
                if mode == celery():
                    for task in (sent, unsent):
                        self.assertEqual(self.wait_for(task, SUCCEEDED).attempt, 1)
                else:
                    self.assertEqual(self.get(sent).state, RUNNING)

    ledger = 1

    def test_what_a_worker_has_leased_is_not_touched(self):
        task = self.create("queue.test")
        lease = self.schedulerd.workers.LeaseTasks(
            queues=[self.queue], lease_duration={"seconds": 600}).leases[0]
        self.assertEqual(lease.task.id, task.id)
        self.database.rows("UPDATE tasks SET updated_at = now() - interval '1 minute'"
                           " WHERE id = %s", task.id)
        self.route(celery())
        self.wait_for(self.create("queue.test"), SUCCEEDED)
        self.database.administer("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        harness.poll("a look or two", self.looked_twice)
        self.assertEqual(self.get(task).state, RUNNING)
        self.schedulerd.workers.AckTask(task_id=task.id, lease_token=lease.lease_token)

    def looked_twice(self):
        calls = self.database.administer(
            "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements"
            " WHERE query LIKE '%push.ListPushedTasks%'")
        self.first_look = getattr(self, "first_look", calls)
        return calls >= self.first_look + 2


if __name__ == "__main__":
    unittest.main()
