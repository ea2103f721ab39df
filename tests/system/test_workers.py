"""Workers: leases, tokens, attempts; each task is in one hand at a time."""

import json
import subprocess
import threading
import time
import unittest

import grpc

import harness

PENDING, RUNNING, SUCCEEDED, DEAD, CANCELLED = range(1, 6)
LOST = ("ABORTED", "LEASE_LOST")
SHORT = {"seconds": 1}  # the shortest lease there is
LONG = {"seconds": 3600}


class WorkerCase(harness.SystemTest):
    runs = ("schedulerd",)

    def setUp(self):
        self.queue = self.id().split(".")[-1][:100]

    def create(self, **fields):
        return self.tasks.CreateTask(**{"queue": self.queue, "name": "task"} | fields)

    def lease(self, **fields):
        return list(self.workers.LeaseTasks(**{"queues": [self.queue]} | fields).leases)

    def lease_one(self, **fields):
        leases = self.lease(wait_for={"seconds": 30}, **fields)
        self.assertEqual(len(leases), 1)
        return leases[0]

    def ack(self, lease):
        return self.workers.AckTask(task_id=lease.task.id, lease_token=lease.lease_token)

    def fail_task(self, lease, **fields):
        return self.workers.FailTask(task_id=lease.task.id, lease_token=lease.lease_token, **fields)

    def extend(self, lease, duration):
        return self.workers.ExtendLease(task_id=lease.task.id, lease_token=lease.lease_token,
                                        lease_duration=duration)


class LeaseTest(WorkerCase):
    def test_a_lease_says_whose_it_is_and_until_when(self):
        self.create()
        before = time.time()
        lease = self.lease_one()
        self.assertEqual((lease.task.state, lease.task.attempt), (RUNNING, 1))
        self.assertRegex(lease.lease_token, "^[0-9a-f]{32}$")
        self.assertTrue(0 < lease.lease_duration.ToNanoseconds() <= 30 * 10**9)
        self.assertGreaterEqual(lease.task.lease_until.ToMicroseconds() / 1e6, before + 30)
        self.assertEqual(self.tasks.GetTask(task_id=lease.task.id), lease.task)
        self.assertEqual(self.lease(), [])

    def test_greater_priority_goes_first_then_the_longest_due(self):
        tasks = [self.create(priority=priority, delay={"nanos": delay * 1_000_000})
                 for priority, delay in ((0, 40), (0, 0), (5, 300), (5, 200), (9, 300), (9, 0))]
        last = max(task.run_time.ToMicroseconds() for task in tasks)
        harness.poll("all to be due", lambda: time.time() * 1e6 > last)
        expected = [tasks[i].id for i in (5, 4, 3, 2, 1, 0)]
        first = [lease.task.id for lease in self.lease(max_tasks=3)]
        rest = [self.lease_one().task.id for _ in range(3)]
        self.assertEqual((sorted(first), rest), (sorted(expected[:3]), expected[3:]))

    def test_only_the_queues_asked_for_are_served(self):
        others = [self.queue + suffix for suffix in (".b", ".c")]
        task, in_b, in_c = (self.create(queue=queue) for queue in (self.queue, *others))
        both = self.lease(queues=[self.queue, others[0], others[0]], max_tasks=10)
        self.assertEqual({lease.task.id for lease in both}, {task.id, in_b.id})
        self.assertEqual([lease.task.id for lease in self.lease(queues=others)], [in_c.id])

    def test_max_tasks_is_one_by_default_and_a_hundred_at_most(self):
        for _ in range(104):
            self.create()
        self.assertEqual(len(self.lease()), 1)
        self.assertEqual(len(self.lease(max_tasks=2)), 2)
        self.assertEqual(len(self.lease(max_tasks=2**31 - 1)), 100)
        self.assertEqual(len(self.lease(max_tasks=100)), 1)

    def test_what_a_worker_asks_for_is_checked(self):
        for field, wrong in (("queues", []), ("queues", ["a b"]), ("queues", ["q"] * 21),
                             ("max_tasks", -1), ("wait_for", {"seconds": -1}),
                             ("wait_for", {"seconds": 61}), ("lease_duration", {"seconds": 3601}),
                             ("lease_duration", {"nanos": 999_999_999}), ("lease_duration", {})):
            with self.subTest(field=field, wrong=wrong):
                with self.assert_error("INVALID_ARGUMENT", field=field):
                    self.lease(**{field: wrong})
        lease_key = {"task_id": 1, "lease_token": "0" * 32}
        for call, field in (
                (lambda: self.workers.AckTask(task_id=1), "lease_token"),
                (lambda: self.workers.AckTask(lease_token="0" * 32), "task_id"),
                (lambda: self.workers.ExtendLease(**lease_key), "lease_duration"),
                (lambda: self.workers.FailTask(error="x" * 1025, **lease_key), "error"),
                (lambda: self.workers.FailTask(error="\0", **lease_key), "error")):
            with self.subTest(field=field), self.assert_error("INVALID_ARGUMENT", field=field):
                call()

    def test_a_stale_or_foreign_token_changes_nothing(self):
        self.create()
        old = self.lease_one(lease_duration=SHORT)
        new = self.lease_one(lease_duration=LONG)
        self.assertEqual((new.task.id, new.task.attempt), (old.task.id, 2))
        self.assertNotEqual(new.lease_token, old.lease_token)
        held = self.tasks.GetTask(task_id=new.task.id)
        foreign = type(new)(task=new.task, lease_token="0123456789abcdef" * 2)
        for lease in (old, foreign):
            for call in (self.ack, self.fail_task, lambda lease: self.extend(lease, LONG)):
                with self.assert_error(*LOST):
                    call(lease)
        self.assertEqual(self.tasks.GetTask(task_id=new.task.id), held)
        self.assertEqual(self.ack(new).state, SUCCEEDED)
        with self.assert_error(*LOST):
            self.ack(old)

    def test_an_ack_can_be_repeated_and_nothing_follows_it(self):
        self.create()
        lease = self.lease_one()
        done = self.ack(lease)
        self.assertEqual(done.state, SUCCEEDED)
        self.assertFalse(done.HasField("lease_until"))
        self.assertEqual(self.ack(lease), done)
        for call in (self.fail_task, lambda lease: self.extend(lease, LONG)):
            with self.assert_error("ABORTED"):
                call(lease)
        self.assertEqual(self.tasks.GetTask(task_id=lease.task.id), done)


class AttemptTest(WorkerCase):
    def test_a_failed_task_comes_again_until_its_attempts_are_used_up(self):
        task = self.create(max_attempts=2)
        failed = self.fail_task(self.lease_one(), error="\u00fc" * 1024)
        self.assertEqual((failed.state, failed.attempt, failed.last_error),
                         (PENDING, 1, "\u00fc" * 1024))
        pause = failed.run_time.ToMicroseconds() - failed.update_time.ToMicroseconds()
        self.assertTrue(500_000 < pause < 2_000_000, f"{pause} us")
        again = self.lease_one()
        self.assertEqual((again.task.id, again.task.attempt), (task.id, 2))
        self.assertEqual(again.task.last_error, "\u00fc" * 1024)
        dead = self.fail_task(again, error="second")
        self.assertEqual((dead.state, dead.attempt, dead.last_error), (DEAD, 2, "second"))
        self.assertEqual(self.lease(wait_for={"seconds": 3}), [])

    def test_a_task_whose_last_lease_runs_out_is_dead(self):
        task = self.create(max_attempts=1)
        self.lease_one(lease_duration=SHORT)
        # The look for leases that have run out is the scheduler's own; nobody waits for the queue.
        harness.poll("the task to be dead",
                     lambda: self.tasks.GetTask(task_id=task.id).state == DEAD)
        self.assertEqual(self.lease(), [])

    def test_a_lease_that_ran_out_is_given_again_and_not_before(self):
        self.create()
        first = self.lease_one(lease_duration=SHORT)
        again = self.lease_one()
        self.assertEqual((again.task.id, again.task.attempt), (first.task.id, 2))
        self.assertGreaterEqual(again.task.update_time.ToMicroseconds(),
                                first.task.lease_until.ToMicroseconds())

    def test_an_acknowledged_task_does_not_come_again_when_its_lease_would_have_ended(self):
        self.create()
        self.ack(self.lease_one(lease_duration=SHORT))
        self.assertEqual(self.lease(wait_for={"seconds": 3}), [])

    def test_an_extended_lease_lasts_longer(self):
        self.create()
        lease = self.lease_one(lease_duration={"seconds": 2})
        longer = self.extend(lease, LONG)
        self.assertGreater(longer.lease_until.ToMicroseconds(),
                           lease.task.lease_until.ToMicroseconds() + 3_000_000_000)
        self.assertEqual(self.lease(wait_for={"seconds": 4}), [])
        self.assertEqual(self.ack(lease).state, SUCCEEDED)


class LeavingTest(WorkerCase):
    """Workers that are killed, or leave without a word."""

    def worker(self, wait, lease_duration):
        request = {"queues": [self.queue], "waitFor": wait, "leaseDuration": lease_duration}
        return subprocess.Popen(
            [harness.setting("GRPCURL"), "-plaintext", "-d", json.dumps(request),
             self.schedulerd.address, "parley.scheduler.v1.WorkerService/LeaseTasks"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def test_the_task_of_a_killed_worker_is_delivered_again_after_its_lease(self):
        task = self.create()
        answer, _ = self.worker("30s", "2s").communicate(timeout=harness.PATIENCE)
        lease = json.loads(answer)["leases"][0]  # and the worker is gone
        self.assertEqual((lease["task"]["id"], lease["task"]["attempt"]), (str(task.id), 1))
        again = self.lease_one()
        self.assertEqual((again.task.id, again.task.attempt), (task.id, 2))
        lease_until = type(again.task.update_time)()
        lease_until.FromJsonString(lease["task"]["lease_until"])
        self.assertGreaterEqual(again.task.update_time.ToMicroseconds(),
                                lease_until.ToMicroseconds())

    def abandoned_waits(self):
        return sum((line.get("grpc.method"), line.get("grpc.code")) == ("LeaseTasks", "CANCELLED")
                   for line in self.schedulerd.log())

    def is_connected(self, process):
        remote = f"0100007F:{int(self.schedulerd.address.rsplit(':', 1)[1]):04X}"
        with open(f"/proc/{process.pid}/net/tcp", encoding="ascii") as table:
            return any(line.split()[2:4] == [remote, "01"] for line in table)

    def kill_a_waiting_worker(self):
        """False if the worker was killed before its call had arrived."""
        before = self.abandoned_waits()
        worker = self.worker("60s", "3600s")
        harness.poll("the worker to connect", lambda: self.is_connected(worker))
        self.lease(queues=["another"])
        worker.kill()
        worker.communicate()
        try:
            return harness.poll("the call to end", lambda: self.abandoned_waits() > before, 5)
        except AssertionError:
            return False

    def test_who_is_killed_while_waiting_takes_no_task_along(self):
        harness.poll("a worker to be killed while it waits", self.kill_a_waiting_worker)
        task = self.create()
        lease = self.lease_one()
        self.assertEqual((lease.task.id, lease.task.attempt), (task.id, 1))

    def test_a_cancelled_wait_takes_no_task_along(self):
        for _ in range(5):
            waiting = self.workers.begin("LeaseTasks", queues=[self.queue],
                                         wait_for={"seconds": 60}, lease_duration=LONG)
            waiting.cancel()
            task = self.create(delay={"nanos": 500_000_000})
            lease = self.lease_one()
            self.assertEqual((lease.task.id, lease.task.attempt), (task.id, 1))
            self.ack(lease)

    def test_a_task_that_crosses_a_cancel_comes_again(self):
        for _ in range(20):
            waiting = self.workers.begin("LeaseTasks", queues=[self.queue],
                                         wait_for={"seconds": 60}, lease_duration=SHORT)
            task = self.create(delay={"nanos": 5_000_000})
            waiting.cancel()
            lease = self.lease_one()
            self.assertEqual(lease.task.id, task.id)
            self.ack(lease)

    def test_a_wait_ends_with_its_callers_deadline_and_takes_no_task_along(self):
        try:
            reply = self.workers.LeaseTasks(queues=[self.queue], wait_for={"seconds": 60},
                                            lease_duration=LONG, timeout=2)
            self.assertEqual(list(reply.leases), [])
        except grpc.RpcError as error:  # the answer may cross the deadline
            self.assertEqual(error.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        task = self.create()
        self.assertEqual(self.lease_one().task.id, task.id)


class ManyWorkersTest(WorkerCase):
    TASKS = 500

    def test_two_processes_with_sixteen_workers_hand_out_each_task_once(self):
        other = self.start("schedulerd")
        services = (self.schedulerd, other)
        delivered, left = [], [self.TASKS]
        lock = threading.Lock()

        def produce(number):
            for i in range(self.TASKS // 4):
                services[(number + i) % 2].tasks.CreateTask(
                    queue=self.queue, name="task", payload=f"{number}-{i}".encode(),
                    delay={"nanos": i % 7 * 10_000_000})

        def work(number):
            workers = services[number % 2].workers
            while left[0] > 0:
                leases = workers.LeaseTasks(queues=[self.queue], max_tasks=1 + number % 3,
                                            wait_for=SHORT, lease_duration=LONG).leases
                for lease in leases:
                    with lock:
                        delivered.append((lease.task.id, lease.task.attempt, lease.task.payload))
                        left[0] -= 1
                    workers.AckTask(task_id=lease.task.id, lease_token=lease.lease_token)

        harness.in_threads(20, lambda i: produce(i) if i < 4 else work(i))
        self.assertEqual(len(delivered), self.TASKS)
        self.assertEqual(len(set(delivered)), self.TASKS)
        self.assertEqual({attempt for _, attempt, _ in delivered}, {1})
        self.assertEqual(self.database.rows(
            "SELECT state, count(*) FROM all_tasks WHERE queue = %s GROUP BY state", self.queue),
            [("succeeded", self.TASKS)])

    def test_a_task_is_either_cancelled_or_delivered(self):
        tasks = [self.create().id for _ in range(60)]
        answers = {}

        def cancel_or_lease(number):
            if number % 2:
                return [lease.task.id for _ in range(20) for lease in self.lease(
                    max_tasks=2, lease_duration=LONG)]
            for task_id in tasks[number // 2::4]:
                try:
                    answers[task_id] = self.tasks.CancelTask(task_id=task_id).state
                except grpc.RpcError as error:
                    answers[task_id] = harness.Failure().read(error).reason
            return []

        leased = sum(harness.in_threads(8, cancel_or_lease), [])
        cancelled = [task_id for task_id, answer in answers.items() if answer == CANCELLED]
        self.assertEqual(sorted(leased + cancelled), tasks)
        self.assertLessEqual(set(answers.values()), {CANCELLED, RUNNING})

    def test_a_killed_scheduler_loses_no_task(self):
        doomed = self.start("schedulerd")
        waiting = [doomed.workers.begin("LeaseTasks", queues=[self.queue],
                                        wait_for={"seconds": 60}) for _ in range(4)]
        tasks = {doomed.tasks.CreateTask(queue=self.queue, name="task",
                                         delay={"seconds": 1}).id for _ in range(20)}
        doomed.kill()
        for call in waiting:
            self.assertIsNotNone(call.exception())
        seen = set()
        while seen != tasks:
            lease = self.lease_one()
            seen.add(lease.task.id)
            self.ack(lease)


if __name__ == "__main__":
    unittest.main()
