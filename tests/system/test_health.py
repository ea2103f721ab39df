"""Health: it follows the database, and comes back by itself."""

import unittest

import grpc

import harness
import proxy

NO_SUCH_ID = 999_999_999
SERVICES = {
    binary: [harness.descriptor(*client).full_name for client in clients.values()]
    for binary, clients in harness.CLIENTS.items()
}


def probe_call(service):
    """A call that needs the database and succeeds with it."""
    return {"chatd": lambda: service.users.ListUsers(),
            "messaged": lambda: service.messages.ListMessages(chat_id=NO_SUCH_ID),
            "schedulerd": lambda: service.tasks.ListTasks()}[service.name]


class HealthTest(harness.SystemTest):
    runs = ("chatd", "messaged", "schedulerd")

    def test_each_service_and_the_process_itself_have_a_name(self):
        for binary, names in SERVICES.items():
            service = getattr(self, binary)
            for name in ("", "live", *names):
                self.assertEqual(service.health_of(name), "SERVING", name)
            for name in ("unknown", "parley.chat.v1", names[0].lower()):
                with self.assertRaises(grpc.RpcError) as caught:
                    service.health_of(name)
                self.assertEqual(caught.exception.code(), grpc.StatusCode.NOT_FOUND)

    def test_a_watch_begins_with_the_present_state(self):
        watch = self.chatd.health.Watch(service="parley.chat.v1.ChatService")
        self.assertEqual(next(watch).status, harness.health_pb2.HealthCheckResponse.SERVING)
        watch.cancel()


class DatabaseAwayTest(harness.SystemTest):
    def names(self, service):
        return ("", *SERVICES[service.name])

    def has_health(self, service, expected):
        return all(service.health_of(name) == expected for name in self.names(service))

    def works(self, service):
        try:
            probe_call(service)()
        except grpc.RpcError as error:
            return error.code() is grpc.StatusCode.NOT_FOUND  # the database has answered
        return True

    def start_behind_proxy(self, name, *flags):
        road = proxy.Proxy(self.database.url)
        self.addCleanup(road.cut)
        service = self.start(name, *flags, url=road.url)
        self.assertTrue(self.works(service))
        return service, road

    def check_outage(self, name):
        service, road = self.start_behind_proxy(name)
        for _ in range(2):
            road.cut()
            harness.poll(f"{name} to notice", lambda: self.has_health(service, "NOT_SERVING"))
            self.assertEqual(service.health_of("live"), "SERVING")
            with self.assert_error("UNAVAILABLE", "DATABASE_UNAVAILABLE") as failure:
                probe_call(service)()
            self.assertGreater(failure.retry_delay, 0)
            road.open()
            harness.poll(f"{name} to come back", lambda: self.has_health(service, "SERVING"))
            harness.poll(f"{name} to work", lambda: self.works(service))
        self.assertIsNone(service.process.poll())

    def test_chatd_follows_the_database(self):
        self.check_outage("chatd")

    def test_messaged_follows_the_database(self):
        self.check_outage("messaged")

    def test_schedulerd_follows_the_database(self):
        self.check_outage("schedulerd")

    def test_a_wait_for_tasks_outlives_an_outage(self):
        service, road = self.start_behind_proxy("schedulerd", "--workers", "1")
        waiting = service.workers.begin("LeaseTasks", queues=["outage"], wait_for={"seconds": 50})
        service.tasks.ListTasks()  # one worker, one after the other: now the first call waits
        road.cut()
        harness.poll("the outage to be noticed", lambda: self.has_health(service, "NOT_SERVING"))
        road.open()
        elsewhere = self.start("schedulerd")
        task = elsewhere.tasks.CreateTask(queue="outage", name="task")
        self.assertEqual([lease.task.id for lease in waiting.result().leases], [task.id])

    def test_a_refused_database_is_away_too(self):
        service = self.start("chatd")
        self.addCleanup(self.allow_connections, "true")
        self.allow_connections("false")
        self.database.terminate_backends()
        harness.poll("chatd to notice", lambda: self.has_health(service, "NOT_SERVING"))
        with self.assert_error("UNAVAILABLE", "DATABASE_UNAVAILABLE"):
            probe_call(service)()
        self.allow_connections("true")
        harness.poll("chatd to come back", lambda: self.has_health(service, "SERVING"))

    def test_a_database_that_takes_no_writes_refuses_them_for_the_time_being(self):
        service = self.start("chatd")
        name = self.database.name
        read_only = f"ALTER DATABASE {name} SET default_transaction_read_only = "
        self.addCleanup(self.database.administer, read_only + "off")
        self.database.administer(read_only + "on")
        harness.poll("connections to end", self.database.terminate_backends)
        harness.poll("chatd to connect again", lambda: self.works(service))
        with self.assert_error("UNAVAILABLE", "DATABASE_UNAVAILABLE"):
            service.users.CreateUser(login="not now")
        self.database.administer(read_only + "off")
        self.database.terminate_backends()
        harness.poll("chatd to connect again", lambda: self.works(service))
        self.assertEqual(service.users.CreateUser(login="now").login, "now")

    def allow_connections(self, allowed):
        self.database.administer(
            f"ALTER DATABASE {self.database.name} ALLOW_CONNECTIONS {allowed}")

    def test_a_database_that_hangs_is_away_and_no_call_outlives_its_deadline_by_much(self):
        service, road = self.start_behind_proxy("messaged", "--default-deadline", "1s")
        road.block()
        harness.poll("messaged to notice", lambda: self.has_health(service, "NOT_SERVING"))
        self.assertEqual(service.health_of("live"), "SERVING")
        codes = harness.in_threads(8, lambda _: self.code_without_deadline(service))
        self.assertLessEqual(set(codes), {"UNAVAILABLE", "DEADLINE_EXCEEDED"})
        road.open()
        harness.poll("messaged to come back", lambda: self.has_health(service, "SERVING"))
        harness.poll("messaged to work", lambda: self.works(service))

    def code_without_deadline(self, service):
        """The server's own deadline must end the call."""
        call = service.messages.begin("ListMessages", timeout=None, chat_id=NO_SUCH_ID)
        error = call.exception(timeout=harness.PATIENCE)
        return harness.Failure().read(error).code


if __name__ == "__main__":
    unittest.main()
