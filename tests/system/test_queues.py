"""Queues: their settings, pauses, purges and stats, on the real programs."""

import random
import unittest

import harness
from worker import CANCELLED, PENDING, QueueCase, key


class SettingsTest(QueueCase):
    def test_a_request_id_makes_a_create_repeatable(self):
        request = {"queue": {"name": self.queue, "max_running": 3}, "request_id": "once"}
        created = self.queues.CreateQueue(**request)
        self.assertEqual(self.queues.CreateQueue(**request), created)
        with self.assert_error("ALREADY_EXISTS", "REQUEST_ID_REUSED"):
            self.queues.CreateQueue(**request | {"queue": {"name": self.queue}})
        with self.assert_error("ALREADY_EXISTS", "QUEUE_EXISTS") as failure:
            self.queues.CreateQueue(queue={"name": self.queue})
        self.assertEqual(failure.metadata, {"queue": self.queue})

    def test_the_retry_policy_holds_for_tasks_that_are_there(self):
        task_id, = self.create_many(1)
        self.set_queue(retry_policy={"initial_backoff": {"seconds": 3600}, "jitter": 0})
        lease, = self.workers.LeaseTasks(queues=[self.queue]).leases
        task = self.workers.FailTask(**key(lease, error="no"))
        self.assertEqual(task.id, task_id)
        self.assertEqual(task.run_time.ToMicroseconds() - task.update_time.ToMicroseconds(),
                         3600 * 10**6)

    def test_a_list_has_every_queue_once(self):
        self.queues.PauseQueue(queue=self.queue)
        self.create_many(1, queue=self.queue + ".b")
        self.create_many(1)
        names = [queue.name for page in self.all_pages(self.queues.ListQueues, "queues", limit=1)
                 for queue in page]
        self.assertEqual(names, sorted(set(names)))
        self.assertLessEqual({self.queue, self.queue + ".b"}, set(names))

    def test_two_who_update_at_once_do_not_undo_each_other(self):
        fields = [{"max_running": 7}, {"max_attempts": 4}, {"rate_limit": {"rate": 9}}]
        harness.in_threads(3, lambda n: self.set_queue(**fields[n]))
        queue = self.queues.GetQueue(queue=self.queue)
        self.assertEqual((queue.max_running, queue.max_attempts, queue.rate_limit.rate), (7, 4, 9))
        etag = queue.etag

        def update(number):
            try:
                self.set_queue(etag=etag, max_running=number + 1)
            except harness.grpc.RpcError as error:
                return error.code().name
            return "OK"

        self.assertEqual(sorted(harness.in_threads(4, update)), ["ABORTED"] * 3 + ["OK"])


class PauseTest(QueueCase):
    def test_a_pause_holds_everywhere_and_resuming_wakes_at_once(self):
        other = self.start("schedulerd")
        workers = [self.worker(service, credit=5) for service in (self.schedulerd, other)]
        for pauser, resumer in ((self.schedulerd, other), (other, self.schedulerd)):
            paused = pauser.queues.PauseQueue(queue=self.queue, note="for a while")
            self.assertEqual(paused.pause_note, "for a while")
            before = sum(len(worker.told("leases")) for worker in workers)
            ids = self.create_many(3, service=resumer)
            with self.subTest("nothing is leased, not by those who begin to wait now either"):
                late = self.worker(other, credit=5)
                self.assertEqual(list(self.workers.LeaseTasks(
                    queues=[self.queue], wait_for={"seconds": 2}).leases), [])
                self.assertEqual(sum(len(worker.told("leases")) for worker in workers), before)
                self.assertEqual(late.told("leases"), [])
                late.leave()
            resumed = resumer.queues.ResumeQueue(queue=self.queue)
            self.assertFalse(resumed.HasField("pause_time"))
            leased = lambda: [lease for worker in workers for lease in worker.told("leases")]
            harness.poll("the leases", lambda: len(leased()) == before + 3)
            self.assertLess(max(lease.task.update_time.ToMicroseconds()
                                for lease in leased()[-3:])
                            - resumed.update_time.ToMicroseconds(), 500_000)
            self.assertLessEqual(set(ids), {lease.task.id for lease in leased()})
            for worker in workers:
                worker.tell(credit=5)

    def test_what_runs_goes_on(self):
        task_id, = self.create_many(1)
        worker = self.worker(credit=1)
        lease, = worker.wait_for("leases")
        self.queues.PauseQueue(queue=self.queue)
        worker.tell(acks=[key(lease)])
        self.assertEqual(worker.wait_for("settled_task_ids"), [task_id])


class PurgeTest(QueueCase):
    def test_all_that_is_pending_is_cancelled_and_nothing_else(self):
        running, = self.create_many(1, priority=9)
        lease, = self.workers.LeaseTasks(queues=[self.queue]).leases
        ids = [task_id for delay in (0, 3600)
               for task_id in self.create_many(700, delay={"seconds": delay})]
        elsewhere, = self.create_many(1, queue=self.queue + ".other")
        purged = self.queues.PurgeQueue(queue=self.queue)
        self.assertEqual((purged.task_count, purged.done), (1400, True))
        self.assertEqual(self.tasks.GetTask(task_id=random.choice(ids)).state, CANCELLED)
        self.assertEqual(self.tasks.GetTask(task_id=elsewhere).state, PENDING)
        self.workers.AckTask(**key(lease))
        stats = self.stats()
        self.assertEqual((stats.pending_count, stats.running_count, stats.cancelled_total,
                          stats.succeeded_total), (0, 0, 1400, 1))
        self.assertEqual(self.queues.PurgeQueue(queue=self.queue).task_count, 0)
        self.assertEqual(lease.task.id, running)

    def kill(self, count):
        ids = self.create_many(count)
        for lease in self.workers.LeaseTasks(queues=[self.queue], max_tasks=count).leases:
            self.workers.FailTask(**key(lease, for_good=True, error="broken"))
        return ids

    def test_dead_tasks_are_removed_for_good_and_no_others(self):
        dead = self.kill(3)
        pending, = self.create_many(1)
        self.assertEqual([task.id for task in self.tasks.ListDeadTasks(queue=self.queue).tasks],
                         dead[::-1])
        for count in (3, 0):
            purged = self.queues.PurgeQueue(queue=self.queue, state="TASK_STATE_DEAD")
            self.assertEqual((purged.task_count, purged.done), (count, True))
        self.assertEqual(list(self.tasks.ListDeadTasks(queue=self.queue).tasks), [])
        with self.assert_error("NOT_FOUND", "TASK_NOT_FOUND"):
            self.tasks.RedriveTask(task_id=dead[0])
        self.assertEqual(self.tasks.GetTask(task_id=pending).state, PENDING)
        stats = self.stats()
        self.assertEqual((stats.dead_count, stats.died_total, stats.pending_count), (0, 3, 1))
        with self.assert_error("INVALID_ARGUMENT", field="state"):
            self.queues.PurgeQueue(queue=self.queue, state="TASK_STATE_RUNNING")

    def test_the_server_drops_what_has_been_dead_for_the_days_it_is_told(self):
        old, young = self.kill(2)
        self.database.rows("UPDATE dead_tasks SET died_at = now() - interval '4 days' WHERE id = %s"
                           " RETURNING id", old)
        self.start("schedulerd", "--dead-days", "3")
        harness.poll("what is old is dropped", lambda: self.stats().dead_count == 1)
        self.assertEqual([task.id for task in self.tasks.ListDeadTasks(queue=self.queue).tasks],
                         [young])

    def test_purges_and_workers_at_once_lose_nothing_and_do_nothing_twice(self):
        self.create_many(1000)
        workers = [self.worker(credit=200) for _ in range(2)]
        purged = sum(harness.in_threads(
            3, lambda _: self.queues.PurgeQueue(queue=self.queue).task_count))
        leased = [lease.task.id for worker in workers for lease in worker.told("leases")]
        stats = self.stats()
        self.assertEqual(stats.cancelled_total, purged)
        self.assertEqual(stats.pending_count, 0)
        self.assertEqual(stats.running_count + purged, 1000)
        self.assertEqual(len(leased), len(set(leased)))


class StatsTest(QueueCase):
    def test_stats_are_what_counting_would_say_after_a_random_run(self):
        other = self.start("schedulerd")
        seed = random.randrange(10**6)
        print(f"seed {seed}", flush=True)

        def live(number):
            dice = random.Random(seed * 10 + number)
            service = (self.schedulerd, other)[number % 2]
            mine = []
            for _ in range(60):
                what = dice.randrange(9)
                if what < 3:
                    self.create_many(dice.randrange(1, 6), service=service,
                                     max_attempts=dice.randrange(1, 3))
                elif what < 5:
                    mine += service.workers.LeaseTasks(queues=[self.queue], max_tasks=4).leases
                elif what == 5:
                    service.tasks.RedriveTasks(queue=self.queue, limit=2)
                elif what == 6 and dice.randrange(6) == 0:
                    service.queues.PurgeQueue(queue=self.queue)
                elif mine:
                    lease = mine.pop(dice.randrange(len(mine)))
                    end = dice.choice(("AckTask", "FailTask", "ReleaseTask", "CancelTask"))
                    if end == "CancelTask":
                        service.tasks.CancelTask(task_id=lease.task.id)
                    else:
                        fields = {"error": "no"} if end == "FailTask" else {}
                        getattr(service.workers, end)(**key(lease, **fields))

        harness.in_threads(4, live)
        counted = dict(self.database.rows(
            "SELECT state, count(*) FROM all_tasks WHERE queue = %s GROUP BY state", self.queue))
        created, = self.database.rows(
            "SELECT count(*) FROM all_tasks WHERE queue = %s", self.queue)[0]
        stats = self.stats()
        self.assertEqual(
            {"pending": stats.pending_count, "running": stats.running_count,
             "dead": stats.dead_count, "succeeded": stats.succeeded_total,
             "cancelled": stats.cancelled_total, "expired": stats.expired_total},
            {state: counted.get(state, 0) for state in (
                "pending", "running", "dead", "succeeded", "cancelled", "expired")})
        self.assertEqual(stats.created_total, created)
        self.assertGreaterEqual(stats.died_total, stats.dead_count)


if __name__ == "__main__":
    unittest.main()
