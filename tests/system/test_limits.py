"""What queues limit: how many tasks run, how many of a key, how fast; on the real programs."""

import collections
import random
import threading
import time
import unittest

import harness
from worker import QueueCase, key


class Ledger:
    """What workers have in hand, as they see it: from the lease until just before they let go."""

    def __init__(self):
        self._lock = threading.Lock()
        self._now, self.most = collections.Counter(), collections.Counter()
        self.total, self.first = 0, None

    def take(self, task):
        with self._lock:
            self.total += 1
            for name in {"", task.concurrency_key}:
                self._now[name] += 1
                self.most[name] = max(self.most[name], self._now[name])

    def let_go(self, task):
        with self._lock:
            for name in {"", task.concurrency_key}:
                self._now[name] -= 1


class LimitCase(QueueCase):
    def setUp(self):
        super().setUp()
        self.ledger = Ledger()
        self.done = set()

    def work(self, service, stop, credit=3, unary=False, seconds=0.0, fail=0.0):
        """A worker until `stop` is set: holds each task for about `seconds`, and fails some."""
        dice = random.Random(credit)
        if unary:
            return self.work_by_calls(service, stop, dice, credit, seconds)
        worker = self.worker(service, credit=credit)
        seen = 0
        while not stop.is_set():
            leases = worker.told("leases")[seen:]
            seen += len(leases)
            for lease in leases:
                self.ledger.take(lease.task)
            if leases:
                stop.wait(dice.random() * 2 * seconds)
            for lease in leases:
                self.ledger.let_go(lease.task)
                if dice.random() < fail:
                    worker.tell(credit=1, fails=[key(lease, error="no")])
                else:
                    self.done.add(lease.task.id)
                    worker.tell(credit=1, acks=[key(lease)])
            if not leases:
                time.sleep(0.002)
        return worker.leave()

    def work_by_calls(self, service, stop, dice, credit, seconds):
        while not stop.is_set():
            leases = service.workers.LeaseTasks(queues=[self.queue], max_tasks=credit,
                                                wait_for={"nanos": 300_000_000}).leases
            for lease in leases:
                self.ledger.take(lease.task)
            stop.wait(dice.random() * 2 * seconds if leases else 0)
            for lease in leases:
                self.ledger.let_go(lease.task)
                service.workers.AckTask(**key(lease))
                self.done.add(lease.task.id)

    def run_workers(self, workers, until):
        """Runs functions of `stop` in threads until the condition holds."""
        stop = threading.Event()
        errors = []

        def guarded(work):
            try:
                work(stop)
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=guarded, args=(work,)) for work in workers]
        for thread in threads:
            thread.start()
        try:
            harness.poll("the work to be done", lambda: errors or until())
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        self.assertEqual(errors, [])


class RunningTest(LimitCase):
    def test_no_worker_of_any_process_sees_more_run_than_may(self):
        self.set_queue(max_running=4, max_running_per_key=2)
        services = [self.schedulerd, self.start("schedulerd"), self.start("schedulerd")]
        ids = {task_id for n in range(6)
               for task_id in self.create_many(
                   50, concurrency_key=f"key-{n}" if n else "",
                   retry_policy={"initial_backoff": {"nanos": 1000}})}
        self.run_workers(
            [lambda stop, n=n: self.work(services[n % 3], stop, credit=n + 1, unary=n == 5,
                                         seconds=0.005, fail=0.1)
             for n in range(6)],
            lambda: len(self.done) == len(ids))
        self.assertEqual(self.done, ids)
        self.assertEqual(self.ledger.most[""], 4)
        for name, most in self.ledger.most.items():
            self.assertLessEqual(most, 2 if name else 4, name)
        stats = self.stats()
        self.assertEqual((stats.succeeded_total, stats.pending_count, stats.running_count),
                         (len(ids), 0, 0))
        self.assertGreaterEqual(self.ledger.total, len(ids))

    def test_whoever_waits_anywhere_hears_of_a_task_that_has_ended(self):
        # One at a time, on two processes in turn: looking once a second would take minutes.
        self.set_queue(max_running=1)
        other = self.start("schedulerd")
        ids = set(self.create_many(150))
        self.run_workers([lambda stop: self.work(self.schedulerd, stop, credit=1),
                          lambda stop: self.work(other, stop, credit=1)],
                         lambda: len(self.done) == len(ids))
        self.assertEqual(self.ledger.most[""], 1)

    def test_tasks_of_a_killed_process_count_until_their_leases_have_run_out(self):
        self.set_queue(max_running=2)
        doomed = self.start("schedulerd")
        self.create_many(4)
        leases = list(doomed.workers.LeaseTasks(queues=[self.queue], max_tasks=4,
                                                lease_duration={"seconds": 3}).leases)
        self.assertEqual(len(leases), 2)
        doomed.kill()
        self.assertEqual(list(self.workers.LeaseTasks(queues=[self.queue], max_tasks=4).leases), [])
        again = list(self.workers.LeaseTasks(queues=[self.queue], max_tasks=4,
                                             wait_for={"seconds": 30}).leases)
        self.assertTrue(again)
        # After the end of a lease, by the database's clock.
        self.assertGreaterEqual(again[0].task.update_time.ToMicroseconds(),
                                min(lease.task.lease_until.ToMicroseconds() for lease in leases))

    def test_a_limit_that_is_gone_holds_nobody(self):
        self.set_queue(max_running=100, max_running_per_key=1)
        ids = self.create_many(50, concurrency_key="one")
        worker = self.worker(credit=100)
        first, = worker.wait_for("leases")
        harness.poll("the others to be blocked", lambda: self.database.value(
            "SELECT count(*) FROM tasks WHERE queue = %s AND blocked", self.queue) == 49)
        self.set_queue(max_running_per_key=5)
        worker.wait_for("leases", 5)
        self.queues.UpdateQueue(queue={"name": self.queue},
                                update_mask={"paths": ["max_running", "max_running_per_key"]})
        leases = worker.wait_for("leases", 50)
        self.assertEqual(sorted(lease.task.id for lease in leases), sorted(ids))
        self.assertEqual(leases[0].task.id, first.task.id)


class OthersTest(LimitCase):
    def test_a_queue_whose_limit_is_reached_keeps_nobody_from_other_queues(self):
        self.set_queue(max_running=1)
        self.create_many(10)
        self.workers.LeaseTasks(queues=[self.queue])  # and there it stays
        free = self.queue + ".free"
        worker = self.worker(queues=[self.queue, free], credit=1000)
        other = self.worker(queues=[free], credit=1000)
        ids = set()
        for _ in range(5):
            ids |= set(self.create_many(3, queue=free))
            harness.poll("them", lambda: len(worker.told("leases") + other.told("leases"))
                         == len(ids))
        self.assertEqual({lease.task.id for lease in worker.told("leases") + other.told("leases")},
                         ids)

    def test_a_busy_queue_does_not_starve_a_limited_one_beside_it(self):
        self.set_queue(max_running=1)
        busy = self.queue + ".busy"
        self.create_many(1000, queue=busy)
        task_id, = self.create_many(1)
        seen = []
        for _ in range(200):
            seen += [lease.task.id for lease in
                     self.workers.LeaseTasks(queues=[busy, self.queue]).leases]
            if task_id in seen:
                break
        self.assertIn(task_id, seen)

    def test_queues_without_limits_are_claimed_from_as_ever(self):
        self.database.rows("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")

        def calls(statement):
            return self.database.value(
                "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements "
                "WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) "
                "AND query LIKE %s", f"/* {statement} */%")

        limited = ["limited." + name
                   for name in ("LockLimitedQueue", "ClaimLimitedTasks", "NextDueLimited")]
        before = [calls(name) for name in limited], calls("task_hot.ClaimTasks")
        ids = set(self.create_many(300))
        # With settings that are no limits.
        self.set_queue(max_attempts=5)
        self.run_workers([lambda stop: self.work(self.schedulerd, stop, credit=50)],
                         lambda: self.done == ids)
        self.assertEqual([calls(name) for name in limited], before[0])
        self.assertGreater(calls("task_hot.ClaimTasks"), before[1])
        # And those that have limits show that this can be seen.
        self.set_queue(max_running=10)
        more = set(self.create_many(1))
        self.run_workers([lambda stop: self.work(self.schedulerd, stop)],
                         lambda: self.done == ids | more)
        self.assertTrue(all(calls(name) > count for name, count in zip(limited, before[0])))


class RateTest(LimitCase):
    def test_no_more_are_leased_than_the_bucket_gives(self):
        rate, burst, count = 40, 10, 150
        self.create_many(count)
        start = time.monotonic()
        self.set_queue(rate_limit={"rate": rate, "burst": burst})
        services = [self.schedulerd, self.start("schedulerd")]
        violations = []
        taken = self.ledger.take

        def take(task):
            taken(task)
            total, elapsed = self.ledger.total, time.monotonic() - start
            if total > burst + rate * elapsed:
                violations.append((total, elapsed))

        self.ledger.take = take
        self.run_workers([lambda stop, n=n: self.work(services[n % 2], stop, credit=5)
                          for n in range(4)],
                         lambda: len(self.done) == count)
        self.assertEqual(violations, [])
        self.assertEqual(self.ledger.total, count)

    def test_a_task_is_there_when_its_token_is(self):
        # 20 tokens a second: a look once a second would be far too late for most.
        self.create_many(60)
        self.set_queue(rate_limit={"rate": 20, "burst": 1})
        worker = self.worker(credit=60)
        worker.wait_for("leases", 60)
        self.assertGreaterEqual(len(worker.frames), 30)


if __name__ == "__main__":
    unittest.main()
