"""Tasks: created, found, cancelled; what a producer may ask for."""

import time
import unittest

import harness

REUSED = ("ALREADY_EXISTS", "REQUEST_ID_REUSED")
NO_TASK = ("NOT_FOUND", "TASK_NOT_FOUND")
NO_SUCH_ID = 999_999_999
PENDING, RUNNING, SUCCEEDED, DEAD, CANCELLED, EXPIRED = range(1, 7)
MIB = 1 << 20


class TaskCase(harness.SystemTest):
    runs = ("schedulerd",)

    def setUp(self):
        self.queue = self.id().split(".")[-1][:100]

    def create(self, **fields):
        return self.tasks.CreateTask(**{"queue": self.queue, "name": "task"} | fields)

    def lease(self, **fields):
        return list(self.workers.LeaseTasks(**{"queues": [self.queue]} | fields).leases)

    def created(self):
        return self.database.value("SELECT count(*) FROM all_tasks WHERE queue = %s", self.queue)


class CreateTaskTest(TaskCase):
    def test_a_task_comes_back_as_created(self):
        payload, headers = bytes(range(256)), {"trace": "1", "empty": "", "\u00fc": "\U0001f600"}
        when = {"seconds": 4_000_000_000, "nanos": 123_456_000}
        task = self.create(name="mail", payload=payload, headers=headers, priority=7,
                           max_attempts=3, run_time=when)
        self.assertEqual(
            (task.queue, task.name, task.payload, dict(task.headers), task.priority, task.state,
             task.attempt, task.max_attempts, task.run_time.ToMicroseconds()),
            (self.queue, "mail", payload, headers, 7, PENDING, 0, 3, 4_000_000_000_123_456))
        self.assertFalse(task.HasField("lease_until") or task.HasField("local_time"))
        self.assertEqual(self.tasks.GetTask(task_id=task.id), task)

    def test_without_a_time_it_is_due_now(self):
        for when in ({}, {"delay": {}}, {"run_time": {"seconds": 1_000_000_000}}):
            task = self.create(**when)
            self.assertEqual(task.max_attempts, 10)
            self.assertLessEqual(task.run_time.ToMicroseconds(), task.create_time.ToMicroseconds())
            self.assertEqual([lease.task.id for lease in self.lease()], [task.id])

    def test_a_delay_is_counted_from_the_creation(self):
        task = self.create(delay={"seconds": 3600, "nanos": 500_000_000})
        self.assertEqual(task.run_time.ToMicroseconds() - task.create_time.ToMicroseconds(),
                         3_600_500_000)
        self.assertEqual(self.lease(), [])

    def test_a_request_id_answers_with_the_first_task_for_ever(self):
        fields = {"request_id": self.queue, "delay": {"nanos": 1000},
                  "headers": {"b": "1", "a": "2"}}
        first = self.create(**fields)
        self.assertEqual(self.create(**fields), first)
        for difference in ({"name": "other"}, {"payload": b"x"}, {"priority": 1},
                           {"delay": {"seconds": 1}}, {"headers": {"a": "1", "b": "2"}},
                           {"queue": "another"}, {"max_attempts": 2}):
            with self.assert_error(*REUSED):
                self.create(**fields | difference)
        lease = harness.poll("the task to be due", self.lease)[0]
        done = self.workers.AckTask(task_id=first.id, lease_token=lease.lease_token)
        self.assertEqual(self.create(**fields), done)
        self.assertEqual(done.state, SUCCEEDED)
        self.assertEqual((self.created(), self.lease()), (1, []))

    def test_eight_twins_create_one_task(self):
        tasks = harness.in_threads(8, lambda _: self.create(request_id=self.queue))
        self.assertEqual({task.id for task in tasks}, {tasks[0].id})
        self.assertEqual(self.created(), 1)

    def test_limits_are_kept_to_the_byte(self):
        self.create(queue="A-Za-z0-9._-".ljust(128, "x"), payload=b"x" * MIB, priority=9,
                    max_attempts=100, delay={"seconds": 10 * 365 * 86400},
                    headers={"n" * 256: "v" * (16 * 1024 - 256)})
        self.create(headers={str(i): "x" for i in range(64)})
        for field, wrong in (("queue", "x" * 129), ("queue", ""), ("queue", "a b"),
                             ("queue", "\u00fc"), ("payload", b"x" * (MIB + 1)), ("priority", 10),
                             ("priority", -1), ("max_attempts", 101), ("max_attempts", -1),
                             ("headers", {str(i): "x" for i in range(65)}),
                             ("headers", {"n": "v" * (16 * 1024)}), ("headers", {"n" * 257: "v"}),
                             ("headers", {"": "v"}), ("delay", {"seconds": -1}),
                             ("delay", {"nanos": -1}), ("delay", {"seconds": 11 * 366 * 86400}),
                             ("delay", {"seconds": 1, "nanos": -1}),
                             ("run_time", {"seconds": 10**13}), ("run_time", {"nanos": -1}),
                             ("run_time", {"nanos": 1_000_000_000})):
            with self.subTest(field=field, wrong=str(wrong)[:40]):
                with self.assert_error("INVALID_ARGUMENT", field=field):
                    self.create(**{field: wrong})


class FindTaskTest(TaskCase):
    def test_the_latest_created_come_first_by_queue_and_state(self):
        there = [self.create(delay={"seconds": 60}).id for _ in range(12)]
        cancelled = self.tasks.CancelTask(task_id=there[5]).id
        listed = self.tasks.ListTasks(queue=self.queue)
        self.assertEqual([task.id for task in listed.tasks], there[::-1])
        self.assertEqual([task.id for task in self.tasks.ListTasks(
            queue=self.queue, state="TASK_STATE_CANCELLED").tasks], [cancelled])
        self.assertIn(cancelled, [task.id for task in self.tasks.ListTasks(
            state="TASK_STATE_CANCELLED").tasks])
        self.assertEqual([task.id for task in self.tasks.ListTasks(
            queue=self.queue, limit=2, offset=3).tasks], there[8:6:-1])
        self.assertEqual(list(self.tasks.ListTasks(queue="nobody-has-this").tasks), [])

    def test_pages_neither_skip_nor_repeat_while_tasks_arrive(self):
        there = [self.create(delay={"seconds": 60}).id for _ in range(20)]
        seen, token = [], ""
        while True:
            reply = self.tasks.ListTasks(queue=self.queue, limit=3, page_token=token)
            seen += [task.id for task in reply.tasks]
            token = reply.next_page_token
            if not token:
                break
            for _ in range(4):
                self.create(delay={"seconds": 60})
        self.assertEqual(seen, there[::-1])

    def test_at_most_a_hundred_come_at_once(self):
        there = [self.create(delay={"seconds": 60}).id for _ in range(103)]
        self.assertEqual(len(self.tasks.ListTasks(queue=self.queue).tasks), 20)
        for limit in (100, 101, 2**31 - 1):
            reply = self.tasks.ListTasks(queue=self.queue, limit=limit)
            self.assertEqual([task.id for task in reply.tasks], there[:2:-1])

    def test_the_biggest_payloads_come_through_page_by_page(self):
        there = [self.create(payload=bytes([i]) * MIB).id for i in range(7)]
        pages = self.all_pages(self.tasks.ListTasks, "tasks", queue=self.queue, limit=100)
        self.assertEqual([task.id for task in sum(pages, [])], there[::-1])
        self.assertEqual([task.payload for task in sum(pages, [])],
                         [bytes([i]) * MIB for i in reversed(range(7))])
        delivered = []
        while leases := self.lease(max_tasks=100):
            delivered += [(lease.task.id, lease.task.attempt, len(lease.task.payload))
                          for lease in leases]
        self.assertEqual(sorted(delivered), [(task_id, 1, MIB) for task_id in there])

    def test_an_unknown_task_is_named(self):
        token = "0" * 32
        for call in (lambda: self.tasks.GetTask(task_id=NO_SUCH_ID),
                     lambda: self.tasks.CancelTask(task_id=NO_SUCH_ID),
                     lambda: self.tasks.RescheduleTask(task_id=NO_SUCH_ID),
                     lambda: self.tasks.RunTaskNow(task_id=NO_SUCH_ID),
                     lambda: self.tasks.RedriveTask(task_id=NO_SUCH_ID),
                     lambda: self.workers.AckTask(task_id=NO_SUCH_ID, lease_token=token),
                     lambda: self.workers.FailTask(task_id=NO_SUCH_ID, lease_token=token),
                     lambda: self.workers.ReleaseTask(task_id=NO_SUCH_ID, lease_token=token),
                     lambda: self.workers.ExtendLease(task_id=NO_SUCH_ID, lease_token=token,
                                                      lease_duration={"seconds": 1})):
            with self.assert_error(*NO_TASK) as failure:
                call()
            self.assertIn(str(NO_SUCH_ID), failure.metadata.values())


class BatchCreateTest(TaskCase):
    def batch(self, *requests):
        return self.tasks.BatchCreateTasks(
            requests=[{"queue": self.queue, "name": "task"} | fields for fields in requests])

    def test_a_thousand_tasks_are_created_at_once(self):
        results = self.batch(*({"payload": str(i).encode()} for i in range(1000))).results
        ids = [result.task_id for result in results]
        self.assertEqual((len(set(ids)), self.created()), (1000, 1000))
        leases = []
        while len(leases) < 1000:
            got = self.lease(max_tasks=100)
            self.assertTrue(got)
            leases += got
        self.assertEqual({lease.task.id: lease.task.payload for lease in leases},
                         {task_id: str(i).encode() for i, task_id in enumerate(ids)})

    def test_each_has_its_own_outcome(self):
        key = {"request_id": self.queue, "priority": 3}
        results = self.batch(key, {"queue": "", "priority": 10}, key, key | {"name": "other"},
                             {"local_time": {"date_time": "x"}}).results
        self.assertEqual(results[0].task_id, results[2].task_id)
        self.assertGreater(results[0].task_id, 0)
        self.assertEqual(self.created(), 1)
        errors = [harness.Failure().read_status(results[i].error) for i in (1, 3, 4)]
        self.assertEqual([error.reason for error in errors],
                         ["INVALID_ARGUMENT", "REQUEST_ID_REUSED", "INVALID_ARGUMENT"])
        self.assertEqual(set(errors[0].fields), {"requests[1].queue", "requests[1].priority"})
        again = self.batch(key).results[0].task_id
        self.assertEqual(again, results[0].task_id)
        self.assertEqual(self.create(**key).id, again)

    def test_a_batch_has_one_to_a_thousand_tasks(self):
        for count in (0, 1001):
            with self.assert_error("INVALID_ARGUMENT", field="requests"):
                self.batch(*({} for _ in range(count)))
        self.assertEqual(self.created(), 0)


class CancelTaskTest(TaskCase):
    def test_a_cancelled_task_is_never_delivered(self):
        task = self.create()
        cancelled = self.tasks.CancelTask(task_id=task.id)
        self.assertEqual((cancelled.id, cancelled.state), (task.id, CANCELLED))
        self.assertEqual(self.tasks.CancelTask(task_id=task.id), cancelled)
        self.assertEqual(self.lease(), [])

    def test_a_worker_that_has_the_task_is_asked_to_stop(self):
        task = self.create()
        lease = self.lease()[0]
        asked = self.tasks.CancelTask(task_id=task.id)
        self.assertEqual((asked.state, asked.cancel_requested), (RUNNING, True))
        extended = self.workers.ExtendLease(task_id=task.id, lease_token=lease.lease_token,
                                            lease_duration={"seconds": 30})
        self.assertTrue(extended.cancel_requested)
        stopped = self.workers.FailTask(task_id=task.id, lease_token=lease.lease_token,
                                        error="stopped")
        self.assertEqual((stopped.state, stopped.last_error), (CANCELLED, "stopped"))
        self.assertEqual(self.tasks.CancelTask(task_id=task.id), stopped)
        self.assertEqual(self.lease(wait_for={"seconds": 2}), [])

    def test_a_task_that_its_worker_completes_nevertheless_has_succeeded(self):
        task = self.create()
        lease = self.lease()[0]
        self.tasks.CancelTask(task_id=task.id)
        done = self.workers.AckTask(task_id=task.id, lease_token=lease.lease_token, result=b"\0!")
        self.assertEqual((done.state, done.result), (SUCCEEDED, b"\0!"))

    def test_a_task_that_has_ended_stays_as_it_is(self):
        task = self.create()
        self.workers.AckTask(task_id=task.id, lease_token=self.lease()[0].lease_token)
        dead = self.create(max_attempts=1)
        self.workers.FailTask(task_id=dead.id, lease_token=self.lease()[0].lease_token)
        for ended in (task, dead):
            with self.assert_error("FAILED_PRECONDITION", "TASK_ENDED"):
                self.tasks.CancelTask(task_id=ended.id)

    def test_a_task_that_is_to_be_tried_again_can_be_cancelled(self):
        task = self.create()
        self.workers.FailTask(task_id=task.id, lease_token=self.lease()[0].lease_token)
        self.assertEqual(self.tasks.CancelTask(task_id=task.id).state, CANCELLED)
        self.assertEqual(self.lease(wait_for={"seconds": 2}), [])


class ChangeTest(TaskCase):
    """What may be done with a task before and after its attempts."""

    def test_a_pending_task_gets_another_time(self):
        task = self.create(delay={"seconds": 3600})
        moved = self.tasks.RescheduleTask(task_id=task.id, local_time={
            "date_time": "2031-07-01T12:00:00", "time_zone": "Europe/Berlin"})
        self.assertEqual((moved.run_time.ToJsonString(), moved.local_time.time_zone),
                         ("2031-07-01T10:00:00Z", "Europe/Berlin"))
        moved = self.tasks.RescheduleTask(task_id=task.id, delay={"seconds": 7200})
        self.assertFalse(moved.HasField("local_time"))
        waits = moved.run_time.ToMicroseconds() - moved.update_time.ToMicroseconds()
        self.assertEqual(waits, 7200 * 10**6)

    def test_a_waiting_worker_gets_a_task_that_is_to_run_now(self):
        task = self.create(delay={"seconds": 3600})
        waiting = self.workers.begin("LeaseTasks", queues=[self.queue], wait_for={"seconds": 40})
        self.assertEqual(self.tasks.RunTaskNow(task_id=task.id).state, PENDING)
        self.assertEqual([lease.task.id for lease in waiting.result().leases], [task.id])
        for change in (self.tasks.RunTaskNow, self.tasks.RescheduleTask):
            with self.assert_error("FAILED_PRECONDITION", "TASK_NOT_PENDING"):
                change(task_id=task.id)

    def test_a_released_task_is_as_it_was(self):
        task = self.create()
        token = self.lease()[0].lease_token
        released = self.workers.ReleaseTask(task_id=task.id, lease_token=token)
        self.assertEqual((released.state, released.attempt, list(released.errors)),
                         (PENDING, 0, []))
        with self.assert_error("ABORTED", "LEASE_LOST"):
            self.workers.ReleaseTask(task_id=task.id, lease_token=token)
        self.assertEqual(self.lease()[0].task.attempt, 1)

    def test_a_dead_task_keeps_its_errors_and_is_driven_again(self):
        task = self.create(max_attempts=2)
        for text in ("first", "second"):
            lease = self.lease(wait_for={"seconds": 20})[0]
            dead = self.workers.FailTask(task_id=task.id, lease_token=lease.lease_token, error=text)
        self.assertEqual((dead.state, [(e.attempt, e.text) for e in dead.errors]),
                         (DEAD, [(1, "first"), (2, "second")]))
        listed = self.tasks.ListTasks(queue=self.queue, state=DEAD).tasks
        self.assertEqual(list(listed), [dead])
        self.assertEqual(list(self.tasks.ListDeadTasks(queue=self.queue).tasks), [dead])
        again = self.tasks.RedriveTask(task_id=task.id)
        self.assertEqual((again.state, again.attempt, len(again.errors)), (PENDING, 0, 2))
        self.assertEqual(self.tasks.RedriveTask(task_id=task.id), again)
        lease = self.lease()[0]
        with self.assert_error("FAILED_PRECONDITION", "TASK_NOT_DEAD"):
            self.tasks.RedriveTask(task_id=task.id)
        self.workers.AckTask(task_id=task.id, lease_token=lease.lease_token)

    def test_what_failed_for_good_is_dead_at_once(self):
        tasks = [self.create(max_attempts=9).id for _ in range(3)]
        for lease in self.lease(max_tasks=3):
            dead = self.workers.FailTask(task_id=lease.task.id, lease_token=lease.lease_token,
                                         for_good=True)
            self.assertEqual((dead.state, dead.attempt), (DEAD, 1))
        self.assertEqual(self.tasks.RedriveTasks(queue=self.queue, limit=2).task_count, 2)
        self.assertEqual([lease.task.id for lease in self.lease(max_tasks=3)], tasks[:2])
        self.assertEqual(self.tasks.RedriveTasks(queue=self.queue).task_count, 1)
        self.assertEqual(self.tasks.RedriveTasks(queue=self.queue).task_count, 0)

    def test_a_task_that_nobody_begins_in_time_expires(self):
        soon = time.time() + 1
        task = self.create(expire_time={"seconds": int(soon), "nanos": int(soon % 1 * 1e9)},
                           delay={"seconds": 3600})
        expired = harness.poll("the task to expire", lambda: (
            lambda t: t if t.state == EXPIRED else None)(self.tasks.GetTask(task_id=task.id)))
        self.assertEqual(list(self.tasks.ListTasks(queue=self.queue, state=EXPIRED).tasks),
                         [expired])
        with self.assert_error("FAILED_PRECONDITION", "TASK_ENDED"):
            self.tasks.CancelTask(task_id=task.id)

    def test_a_result_that_is_too_large_is_refused(self):
        self.create()
        lease = self.lease()[0]
        with self.assert_error("INVALID_ARGUMENT", field="result"):
            self.workers.AckTask(task_id=lease.task.id, lease_token=lease.lease_token,
                                 result=b"x" * (256 * 1024 + 1))
        done = self.workers.AckTask(task_id=lease.task.id, lease_token=lease.lease_token,
                                    result=b"x" * (256 * 1024))
        self.assertEqual(len(done.result), 256 * 1024)


class WakeTest(TaskCase):
    """A waiting LeaseTasks gets a task at its time. How late is printed, not judged."""

    WAIT = 40

    def wait_for_one(self):
        return self.workers.begin("LeaseTasks", queues=[self.queue],
                                  wait_for={"seconds": self.WAIT})

    def check_woken(self, waiting, task, how):
        leases = waiting.result().leases
        now = time.time()
        self.assertEqual([lease.task.id for lease in leases], [task.id])
        lateness = now - task.run_time.ToMicroseconds() / 1e6
        print(f"lateness, {how}: {lateness * 1000:.1f} ms", flush=True)
        self.assertGreaterEqual(lateness, 0)
        self.assertLess(lateness, self.WAIT / 2)
        return leases[0]

    def test_it_wakes_for_a_task_of_its_own_and_of_another_process(self):
        other = self.start("schedulerd")
        for client, how in ((self.tasks, "same process"), (other.tasks, "another process")):
            for delay in (0.0, 0.3, 1.5):
                waiting = self.wait_for_one()
                task = client.CreateTask(queue=self.queue, name="later", delay={
                    "seconds": int(delay), "nanos": int(delay % 1 * 1e9)})
                self.check_woken(waiting, task, f"{how}, delay {delay} s")

    def test_it_wakes_for_an_earlier_task_than_the_one_it_waits_for(self):
        other = self.start("schedulerd")
        self.create(delay={"seconds": 3600})
        waiting = self.wait_for_one()
        task = other.tasks.CreateTask(queue=self.queue, name="sooner", delay={"seconds": 1})
        self.check_woken(waiting, task, "earlier than expected")

    def test_it_wakes_for_a_task_that_is_tried_again(self):
        task = self.create()
        failed = self.workers.FailTask(task_id=task.id, lease_token=self.lease()[0].lease_token)
        self.assertEqual(self.check_woken(self.wait_for_one(), failed, "tried again").task.attempt,
                         2)

    def test_many_who_wait_get_a_task_each(self):
        other = self.start("schedulerd")
        waiting = [self.wait_for_one() for _ in range(10)]
        tasks = {other.tasks.CreateTask(queue=self.queue, name="one each",
                                        delay={"seconds": 1}).id for _ in range(10)}
        delivered = [lease.task.id for call in waiting for lease in call.result().leases]
        self.assertEqual(sorted(delivered), sorted(tasks))

    def test_nothing_due_is_an_empty_answer(self):
        self.create(delay={"seconds": 3600})
        self.assertEqual(self.lease(), [])
        self.assertEqual(self.lease(wait_for={"seconds": 1}), [])


if __name__ == "__main__":
    unittest.main()
