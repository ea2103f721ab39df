"""Dedupe keys: what they keep from being created, alone and among several processes that are killed."""

import concurrent.futures
import random
import threading
import unittest

import grpc

import harness

PENDING, RUNNING, SUCCEEDED = 1, 2, 3
TAKEN = ("ALREADY_EXISTS", "DEDUPE_KEY_TAKEN")
ALREADY_EXISTS = 6


class DedupeTest(harness.SystemTest):
    runs = ("schedulerd",)

    def setUp(self):
        self.queue = self.id().split(".")[-1][:100]

    def create(self, policy="DEDUPE_POLICY_UNSPECIFIED", **fields):
        return self.tasks.CreateTask(**{"queue": self.queue, "name": "task", "dedupe_key": "k",
                                        "dedupe_policy": policy} | fields)

    def lease(self, **fields):
        leases = self.workers.LeaseTasks(**{"queues": [self.queue]} | fields).leases
        return leases[0] if leases else None

    def ack(self, lease, **fields):
        return self.workers.AckTask(task_id=lease.task.id, lease_token=lease.lease_token, **fields)

    def created(self):
        return self.database.value("SELECT count(*) FROM all_tasks WHERE queue = %s", self.queue)

    def test_the_refusal_names_the_task(self):
        first = self.create(payload=b"one")
        self.assertEqual(first.dedupe_key, "k")
        with self.assert_error(*TAKEN) as refused:
            self.create(payload=b"two")
        self.assertEqual(refused.metadata, {"task_id": str(first.id)})
        self.assertEqual(self.tasks.GetTask(task_id=first.id), first)
        self.assertEqual(self.created(), 1)
        done = self.ack(self.lease())
        self.assertEqual(done.dedupe_key, "k")
        self.assertNotEqual(self.create().id, first.id)

    def test_keep_is_answered_with_the_task_that_is_there(self):
        first = self.create(delay={"seconds": 60})
        self.assertEqual(self.create("DEDUPE_POLICY_KEEP", payload=b"other"), first)
        self.tasks.RunTaskNow(task_id=first.id)
        lease = self.lease()
        self.assertEqual(self.create("DEDUPE_POLICY_KEEP").state, RUNNING)
        self.ack(lease)
        self.assertEqual(self.created(), 1)

    def test_replace_gives_a_waiting_worker_the_new_one(self):
        first = self.create(payload=b"one", delay={"seconds": 3600}, priority=1)
        waiting = self.workers.begin("LeaseTasks", queues=[self.queue], wait_for={"seconds": 50})
        second = self.create("DEDUPE_POLICY_REPLACE", payload=b"two", name="other")
        self.assertEqual((second.id, second.create_time), (first.id, first.create_time))
        lease, = waiting.result().leases
        self.assertEqual((lease.task.id, lease.task.payload, lease.task.name, lease.task.priority,
                          lease.task.attempt), (first.id, b"two", "other", 0, 1))
        third = self.create("DEDUPE_POLICY_REPLACE", payload=b"three")
        self.assertNotEqual(third.id, first.id)
        self.assertEqual(self.ack(lease).payload, b"two")
        self.assertEqual(self.lease().task.payload, b"three")

    def test_those_who_wait_elsewhere_are_told(self):
        for policy in ("DEDUPE_POLICY_REJECT", "DEDUPE_POLICY_REPLACE"):
            with self.database.listening("parley_tasks") as heard:
                self.create(policy)
                harness.poll("the notification", lambda heard=heard: self.queue in heard())

    def test_a_window_keeps_the_key_after_the_success(self):
        first = self.create(dedupe_window={"seconds": 2})
        done = self.ack(self.lease(), result=b"r")
        self.assertEqual(self.create("DEDUPE_POLICY_KEEP"), done)
        with self.assert_error(*TAKEN):
            self.create()

        def created():
            try:
                return self.create()
            except grpc.RpcError as error:
                self.assertEqual(harness.Failure().read(error).reason, "DEDUPE_KEY_TAKEN")
                return None

        second = harness.poll("the window to be over", created)
        self.assertNotEqual(second.id, first.id)
        self.assertGreaterEqual(
            second.create_time.ToMicroseconds() - done.update_time.ToMicroseconds(), 2_000_000)

    def test_a_request_id_goes_before_the_key(self):
        self.create(request_id="first", delay={"seconds": 60})
        kept = self.create("DEDUPE_POLICY_KEEP", request_id="kept")
        self.assertEqual(self.create("DEDUPE_POLICY_KEEP", request_id="kept"), kept)
        self.assertEqual(self.create(request_id="first", delay={"seconds": 60}), kept)
        with self.assert_error(*TAKEN):
            self.create(request_id="refused")
        self.tasks.CancelTask(task_id=kept.id)
        self.assertNotEqual(self.create(request_id="refused").id, kept.id)
        with self.assert_error("ALREADY_EXISTS", "REQUEST_ID_REUSED"):
            self.create("DEDUPE_POLICY_KEEP", request_id="refused")

    def test_each_task_of_a_batch_has_its_own_outcome(self):
        first = self.create()
        results = self.tasks.BatchCreateTasks(requests=[
            {"queue": self.queue, "name": "task"} | extra for extra in (
                {}, {"dedupe_key": "k"}, {"dedupe_key": "k", "dedupe_policy": "DEDUPE_POLICY_KEEP"},
                {"dedupe_policy": "DEDUPE_POLICY_KEEP"}, {"dedupe_key": "new"},
                {"dedupe_key": "new", "dedupe_policy": "DEDUPE_POLICY_REPLACE", "payload": b"x"})
        ]).results
        failure = harness.Failure().read_status(results[1].error)
        self.assertEqual((results[1].error.code, failure.reason, failure.metadata),
                         (ALREADY_EXISTS, "DEDUPE_KEY_TAKEN", {"task_id": str(first.id)}))
        self.assertEqual(results[2].task_id, first.id)
        self.assertEqual(harness.Failure().read_status(results[3].error).fields,
                         ["requests[3].dedupe_policy"])
        self.assertEqual(results[5].task_id, results[4].task_id)
        self.assertEqual(self.tasks.GetTask(task_id=results[5].task_id).payload, b"x")
        self.assertEqual(len({results[0].task_id, first.id, results[4].task_id}), 3)
        self.assertEqual(self.created(), 3)

    def test_a_thousand_keyed_tasks_at_once(self):
        requests = [{"queue": self.queue, "name": "task", "dedupe_key": f"key {i % 990}",
                     "dedupe_policy": "DEDUPE_POLICY_KEEP", "request_id": f"request {i}".replace(" ", "-")}
                    for i in range(1000)]
        first = self.tasks.BatchCreateTasks(requests=requests).results
        self.assertEqual(len({result.task_id for result in first}), 990)
        self.assertEqual(list(self.tasks.BatchCreateTasks(requests=requests).results), list(first))
        self.assertEqual(self.created(), 990)

    def test_the_fields_have_limits(self):
        self.create(dedupe_key="\U0001f600" * 256, dedupe_window={"seconds": 366 * 86400})
        for field, wrong in (("dedupe_key", "k" * 257), ("dedupe_key", "a\0"), ("dedupe_policy", 9),
                             ("dedupe_window", {"seconds": -1}),
                             ("dedupe_window", {"seconds": 366 * 86400 + 1})):
            with self.subTest(field=field):
                with self.assert_error("INVALID_ARGUMENT", field=field):
                    self.create(**{field: wrong} if field != "dedupe_policy" else {"policy": wrong})
        with self.assert_error("INVALID_ARGUMENT", field="dedupe_window"):
            self.create(dedupe_key="", dedupe_window={})

    def test_keys_are_removed_in_time(self):
        self.create()
        self.ack(self.lease())
        self.create(dedupe_key="live")
        keys = "SELECT dedupe_key FROM task_keys WHERE queue = %s"
        self.assertEqual(len(self.database.rows(keys, self.queue)), 2)
        self.database.rows("UPDATE task_keys SET look_at = now() WHERE queue = %s", self.queue)
        harness.poll("the reaper", lambda: self.database.rows(keys, self.queue) == [("live",)])


class DedupeStormTest(harness.SystemTest):
    """Three processes, of which one is killed now and then, while many create under few keys."""

    def setUp(self):
        # Another task with the key of a live one is an error of the database's own.
        self.database.rows("CREATE UNIQUE INDEX ON tasks ((options ->> 'dedupe_key'))"
                           " WHERE options ? 'dedupe_key'")
        self.services = [self.start("schedulerd") for _ in range(3)]
        self.stop = threading.Event()

    def attempt(self, call):
        """The answer; None if it is not known, because the process was killed or is busy."""
        try:
            return call(random.choice(self.services))
        except (grpc.RpcError, ValueError) as error:  # ValueError: its channel is closed
            if isinstance(error, grpc.RpcError) and error.code().name not in (
                    "UNAVAILABLE", "ABORTED", "UNKNOWN", "CANCELLED"):
                failure = harness.Failure().read(error)
                self.assertEqual((failure.code, failure.reason), TAKEN, failure.text)
                return failure
            return None

    def kill_one(self):
        victim = random.randrange(3)
        self.services[victim].kill()
        self.services[victim] = self.start("schedulerd")

    def work(self):
        while not self.stop.is_set():
            reply = self.attempt(lambda s: s.workers.LeaseTasks(
                queues=["q"], max_tasks=5, lease_duration={"seconds": 1}))
            for lease in reply.leases if reply else ():
                self.attempt(lambda s, lease=lease: s.workers.AckTask(
                    task_id=lease.task.id, lease_token=lease.lease_token))

    def produce(self, number):
        chance = random.Random(number)
        answers = {}
        for i in range(40):
            fields = {"queue": "q", "name": "task", "dedupe_key": f"k{chance.randrange(4)}",
                      "dedupe_policy": chance.choice(("DEDUPE_POLICY_REJECT", "DEDUPE_POLICY_KEEP")),
                      "request_id": f"{number}-{i}"}
            answer = harness.poll("an answer", lambda fields=fields: self.attempt(
                lambda s: s.tasks.CreateTask(**fields)))
            if not isinstance(answer, harness.Failure):
                answers[fields["request_id"]] = answer.id
                again = harness.poll("it again", lambda fields=fields: self.attempt(
                    lambda s: s.tasks.CreateTask(**fields)))
                self.assertEqual(again.id, answer.id)
        return answers

    def test_one_task_has_a_key_and_a_request_leads_to_one_task(self):
        worker = threading.Thread(target=self.work)
        worker.start()
        self.addCleanup(worker.join)
        self.addCleanup(self.stop.set)
        with concurrent.futures.ThreadPoolExecutor(8) as executor:
            producers = [executor.submit(self.produce, number) for number in range(8)]
            # By this thread: a process ends with the thread that has started it.
            while not all(producer.done() for producer in producers):
                self.kill_one()
        answers = [producer.result() for producer in producers]
        self.stop.set()
        worker.join()
        known = {name: task for part in answers for name, task in part.items()}
        remembered = dict(self.database.rows(
            "SELECT request_id, resource_id FROM requests WHERE operation = 'CreateTask'"))
        self.assertEqual(known, {name: remembered[name] for name in known})
        there = {row[0] for row in self.database.rows("SELECT id FROM all_tasks")}
        self.assertLessEqual(set(known.values()), there)
        self.assertLessEqual(self.database.value("SELECT count(*) FROM tasks"), 4)
        self.assertGreater(len(there), 4, "nothing was worked on")


if __name__ == "__main__":
    unittest.main()
