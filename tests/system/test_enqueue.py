"""parley_enqueue: a task in the transaction of a caller in the same database."""

import contextlib
import os
import unittest

import psycopg2
import psycopg2.errors
import psycopg2.extras

import harness

TAKEN = ("ALREADY_EXISTS", "DEDUPE_KEY_TAKEN")


class EnqueueCase(harness.SystemTest):
    runs = ("schedulerd",)

    def setUp(self):
        self.queue = self.id().split(".")[-1][:100]
        self.connection = self.connect()

    def connect(self):
        connection = self.database.connect()
        self.addCleanup(connection.close)
        return connection

    def enqueue(self, connection=None, **fields):
        fields = {"queue": self.queue, "name": "task"} | fields
        arguments = ", ".join(f"{name} => %({name})s" for name in fields)
        cursor = (connection or self.connection).cursor()
        cursor.execute(f"SELECT parley_enqueue({arguments})", fields)
        return cursor.fetchone()[0]

    def lease(self, **fields):
        leases = self.workers.LeaseTasks(**{"queues": [self.queue]} | fields).leases
        return leases[0] if leases else None


class EnqueueTest(EnqueueCase):
    def test_a_worker_gets_it_after_the_commit_and_not_before(self):
        waiting = self.workers.begin("LeaseTasks", queues=[self.queue], wait_for={"seconds": 50})
        self.enqueue(payload=b"undone")
        self.connection.rollback()
        task_id = self.enqueue(payload=b"\0done")
        self.assertFalse(waiting.done())
        self.assertIsNone(self.lease())
        self.connection.commit()
        lease, = waiting.result().leases
        self.assertEqual((lease.task.id, lease.task.payload), (task_id, b"\0done"))
        self.assertEqual(self.database.value(
            "SELECT count(*) FROM all_tasks WHERE queue = %s", self.queue), 1)

    def test_those_who_wait_are_told_by_the_commit(self):
        with self.database.listening("parley_tasks") as heard:
            self.enqueue(queue="rolled-back")
            self.connection.rollback()
            self.enqueue()
            self.connection.commit()
            harness.poll("the notification", lambda: self.queue in heard())
            self.assertNotIn("rolled-back", heard())

    def test_it_makes_the_task_that_the_call_makes(self):
        plain = {"headers": {"a": "\"\u00fc", "": ""} | {"x" * 256: "y"}, "priority": 9,
                 "max_attempts": 100, "concurrency_key": "c" * 128, "dedupe_key": "\U0001f600" * 256}
        del plain["headers"][""]
        called = self.tasks.CreateTask(
            queue=self.queue, name="n" * 256, payload=bytes(range(256)),
            run_time={"seconds": 253402300799, "nanos": 999999000},
            expire_time={"seconds": 253402300799, "nanos": 999999000},
            run_timeout={"seconds": 30 * 86400}, dedupe_policy="DEDUPE_POLICY_KEEP",
            dedupe_window={"seconds": 366 * 86400},
            retry_policy={"initial_backoff": {"nanos": 1000}, "max_backoff": {"seconds": 30 * 86400},
                          "backoff_multiplier": 1.5, "jitter": 0.25}, **plain)
        self.database.rows("UPDATE task_keys SET dedupe_key = 'other' WHERE queue = %s", self.queue)
        last = "9999-12-31 23:59:59.999999+00"
        task_id = self.enqueue(**plain | {
            "headers": psycopg2.extras.Json(plain["headers"]), "name": "n" * 256,
            "payload": bytes(range(256)), "run_at": last, "expires_at": last,
            "run_timeout": "30 days", "dedupe_policy": "keep", "dedupe_window": "366 days",
            "initial_backoff": "1 microsecond", "max_backoff": "30 days", "backoff_multiplier": 1.5,
            "jitter": 0.25})
        self.connection.commit()
        made = self.tasks.GetTask(task_id=task_id)
        for task in (called, made):
            for field in ("id", "create_time", "update_time"):
                task.ClearField(field)
        self.assertEqual(made, called)
        self.assertEqual(*self.database.rows(
            "SELECT window_us FROM task_keys WHERE queue = %s", self.queue))

    def test_what_is_not_said_is_what_the_call_makes_of_nothing(self):
        called = self.tasks.CreateTask(queue=self.queue, name="task", delay={})
        null = {name: None for name in (
            "payload", "headers", "run_at", "priority", "max_attempts", "expires_at",
            "concurrency_key", "dedupe_key", "dedupe_policy", "dedupe_window", "run_timeout",
            "initial_backoff", "max_backoff", "backoff_multiplier", "jitter")}
        for fields in ({}, null, {"run_at": "-infinity", "concurrency_key": "", "dedupe_key": "",
                                  "max_attempts": 0}):
            made = self.tasks.GetTask(task_id=self.committed(**fields))
            self.assertEqual(made.run_time, made.create_time)
            for task in (called, made):
                for field in ("id", "create_time", "update_time", "run_time"):
                    task.ClearField(field)
            self.assertEqual(made, called)
        # An empty key is none: it is not one that tasks share.
        self.assertEqual(self.database.value(
            "SELECT count(concurrency_key) FROM tasks WHERE queue = %s", self.queue), 0)

    def committed(self, **fields):
        task_id = self.enqueue(**fields)
        self.connection.commit()
        return task_id

    def test_a_queue_says_how_many_attempts(self):
        self.database.rows("INSERT INTO queues (name, max_attempts) VALUES (%s, 4)", self.queue)
        self.assertEqual(self.tasks.GetTask(task_id=self.committed()).max_attempts, 4)

    def check_refused(self, names, **fields):
        with self.subTest(fields={name: str(value)[:30] for name, value in fields.items()}):
            with self.assertRaises(psycopg2.errors.InvalidParameterValue) as refused:
                self.enqueue(**fields)
            message = refused.exception.diag.message_primary
            self.assertTrue(message.startswith("parley_enqueue: "), message)
            for name in names:
                self.assertIn(f" {name}", message)
        self.connection.rollback()

    def test_the_limits_are_allowed(self):
        headers = {str(number): "" for number in range(63)}
        headers["last"] = "v" * (16384 - sum(map(len, headers)) - len("last"))
        self.enqueue(queue="q", name="n", priority=0, max_attempts=1, dedupe_key="k",
                     dedupe_window="0", run_timeout="1 s", initial_backoff="0", max_backoff="0",
                     backoff_multiplier=1, jitter=0, expires_at="0001-01-01 00:00+00")
        self.enqueue(queue="q" * 128, payload=b"x" * (1 << 20),
                     headers=psycopg2.extras.Json(headers), backoff_multiplier=10, jitter=1)
        self.connection.rollback()

    def test_bad_input_is_an_error_that_names_it(self):
        bad = {"queue": ("", "a b", "q" * 129, "parley.x", "q\n", None), "name": ("", "n" * 257, None),
               "payload": (b"x" * (1 << 20) + b"x",), "priority": (-1, 10), "max_attempts": (-1, 101),
               "headers": ("[]", "1", '{"a": 1}', '{"a": null}', '{"": "x"}',
                           '{"%s": ""}' % ("n" * 257), '{"n": "%s"}' % ("v" * 16384),
                           "{" + ", ".join(f'"{i}": ""' for i in range(65)) + "}"),
               "run_at": ("infinity", "10000-01-01 00:00+00"),
               "expires_at": ("infinity", "-infinity", "10000-01-01 00:00+00",
                              "0001-12-31 23:59:59.999999+00 BC"),
               "concurrency_key": ("c" * 129,), "dedupe_key": ("k" * 257,),
               "dedupe_policy": ("keep",), "dedupe_window": ("1 s",),  # without a key
               "run_timeout": ("999 ms", "31 days"), "initial_backoff": ("-1 s", "31 days"),
               "max_backoff": ("-1 s", "31 days"), "backoff_multiplier": (0.9, 10.1, "NaN"),
               "jitter": (-0.1, 1.1, "NaN")}
        for field, values in bad.items():
            for value in values:
                self.check_refused((field,), **{field: value})
        for policy in ("no", ""):
            self.check_refused(("dedupe_policy",), dedupe_key="k", dedupe_policy=policy)
        for window in ("-1 microsecond", "366 days 1 microsecond", "1 year 6 days"):
            self.check_refused(("dedupe_window",), dedupe_key="k", dedupe_window=window)
        self.check_refused(("priority", "jitter"), priority=10, jitter=2)
        self.assertEqual(self.database.value(
            "SELECT count(*) FROM tasks WHERE queue = %s", self.queue), 0)


class EnqueueDedupeTest(EnqueueCase):
    def test_keys_are_shared_with_the_calls(self):
        first = self.enqueue(dedupe_key="k")
        self.connection.commit()
        with self.assert_error(*TAKEN) as refused:
            self.tasks.CreateTask(queue=self.queue, name="task", dedupe_key="k")
        self.assertEqual(refused.metadata, {"task_id": str(first)})
        with self.assertRaises(psycopg2.errors.UniqueViolation) as taken:
            self.enqueue(dedupe_key="k")
        self.assertIn(str(first), str(taken.exception))
        self.assertEqual(taken.exception.diag.constraint_name, "DEDUPE_KEY_TAKEN")
        self.connection.rollback()
        self.assertEqual(self.enqueue(dedupe_key="k", dedupe_policy="keep", payload=b"kept"), first)
        self.connection.commit()
        self.assertEqual(self.tasks.GetTask(task_id=first).payload, b"")
        self.assertEqual(self.enqueue(dedupe_key="k", dedupe_policy="replace", payload=b"replaced",
                                      priority=3, concurrency_key="c"), first)
        self.connection.commit()
        lease = self.lease()
        self.assertEqual((lease.task.id, lease.task.payload, lease.task.priority), (first, b"replaced", 3))
        self.assertNotEqual(self.enqueue(dedupe_key="k", dedupe_policy="replace"), first)

    def test_what_is_replaced_is_as_if_it_were_new(self):
        task_id = self.enqueue(dedupe_key="k", concurrency_key="old")
        self.connection.commit()
        lease = self.lease()
        self.workers.FailTask(task_id=task_id, lease_token=lease.lease_token, error="once")
        # Not committed, so that the reaper does not find it blocked for nothing.
        self.connection.cursor().execute("UPDATE tasks SET blocked = true WHERE id = %s", (task_id,))
        fields = {"name": "new", "payload": b"new", "headers": psycopg2.extras.Json({"new": "h"}),
                  "run_at": "2999-01-01 00:00+00", "expires_at": "3000-01-01 00:00+00",
                  "priority": 3, "max_attempts": 5, "concurrency_key": "new", "run_timeout": "1 min"}
        self.assertEqual(self.enqueue(dedupe_key="k", dedupe_policy="replace", **fields), task_id)
        other = self.enqueue(dedupe_key="other", **fields)
        self.connection.commit()
        replaced, new = (self.tasks.GetTask(task_id=which) for which in (task_id, other))
        self.assertGreater(replaced.update_time.ToMicroseconds(),
                           replaced.create_time.ToMicroseconds())
        new.dedupe_key = "k"
        for task in (replaced, new):
            for field in ("id", "create_time", "update_time"):
                task.ClearField(field)
        self.assertEqual(replaced, new)
        self.assertFalse(self.database.value("SELECT blocked FROM tasks WHERE id = %s", task_id))

    def test_a_key_waits_for_the_transaction_that_has_it(self):
        self.enqueue(dedupe_key="k")
        with self.assert_error("ABORTED", "CONTENTION"):
            self.tasks.CreateTask(queue=self.queue, name="task", dedupe_key="k")
        # The others go on meanwhile.
        self.tasks.CreateTask(queue=self.queue, name="task", dedupe_key="another")
        call = self.tasks.begin("CreateTask", queue=self.queue, name="task", dedupe_key="k")
        harness.poll("the call to wait", self.database.blocked_statements)
        self.connection.rollback()
        self.assertGreater(call.result().id, 0)

    def test_two_transactions_make_one_task(self):
        def one(number):
            connection = self.connect()
            try:
                task_id = self.enqueue(connection, dedupe_key="k", dedupe_policy=("reject", "keep")[
                    number % 2])
                connection.commit()
                return task_id
            except psycopg2.errors.UniqueViolation:
                return None

        ids = set(harness.in_threads(12, one)) - {None}
        self.assertEqual(len(ids), 1)
        self.assertEqual(self.database.value(
            "SELECT count(*) FROM tasks WHERE queue = %s", self.queue), 1)


class EnqueueRightsTest(EnqueueCase):
    def setUp(self):
        super().setUp()
        self.role = f"enqueue_{os.getpid()}"
        self.database.rows(f"CREATE ROLE {self.role}")
        self.addCleanup(self.database.rows, f"DROP OWNED BY {self.role}; DROP ROLE {self.role}")
        self.database.rows(f"GRANT TEMPORARY ON DATABASE {self.database.name} TO {self.role}")
        self.connection.cursor().execute(f"SET ROLE {self.role}")
        self.connection.commit()

    @contextlib.contextmanager
    def refused(self):
        with self.assertRaises(psycopg2.errors.InsufficientPrivilege):
            yield
        self.connection.rollback()

    def test_a_caller_needs_the_right_to_execute_it_and_no_other(self):
        with self.refused():
            self.enqueue()
        self.database.rows(f"GRANT EXECUTE ON FUNCTION parley_enqueue TO {self.role}")
        for fields in ({}, {"dedupe_key": "k"}, {"dedupe_key": "k", "dedupe_policy": "replace"}):
            task_id = self.enqueue(**fields)
            self.connection.commit()
            self.assertEqual(self.tasks.GetTask(task_id=task_id).queue, self.queue)
        for sql in ("INSERT INTO tasks (queue) VALUES ('q')", "DELETE FROM tasks",
                    "SELECT FROM tasks", "SELECT nextval('task_id_seq')"):
            with self.refused():
                self.connection.cursor().execute(sql)

    def test_a_callers_temporary_tables_are_not_in_the_way(self):
        self.database.rows(f"GRANT EXECUTE ON FUNCTION parley_enqueue TO {self.role}")
        self.connection.cursor().execute(
            "CREATE TEMPORARY TABLE tasks (id bigint, queue text, name text);"
            "SET search_path = pg_temp, public")
        task_id = self.enqueue()
        self.connection.commit()
        self.assertEqual(self.tasks.GetTask(task_id=task_id).id, task_id)
        self.connection.cursor().execute("SET search_path = nowhere")
        cursor = self.connection.cursor()
        cursor.execute("SELECT public.parley_enqueue(%s, 'task')", (self.queue,))
        self.connection.commit()
        self.assertEqual(self.tasks.GetTask(task_id=cursor.fetchone()[0]).queue, self.queue)


if __name__ == "__main__":
    unittest.main()
