"""Producers and a database that goes away while they wait for their answers."""

import unittest

import grpc

import harness
from proxy import Proxy

UNKNOWN, UNAVAILABLE = 2, 14


class InDoubtTest(harness.SystemTest):
    def setUp(self):
        self.road = Proxy(self.database.url)
        self.service = self.start("schedulerd", url=self.road.url)
        # Connects, and prepares both statements.
        self.service.tasks.CreateTask(queue="first", name="task", request_id="first")

    def tasks_named(self, name):
        return [row[0] for row in self.database.rows(
            "SELECT id FROM all_tasks WHERE name = %s ORDER BY id", name)]

    def create_and_lose_the_answer(self, requests, break_off=Proxy.drop):
        """Sends a batch that is committed, and whose commit nobody hears of."""
        self.road.lose_answers()
        call = self.service.tasks.begin("BatchCreateTasks", requests=requests)
        harness.poll("the commit", lambda: self.tasks_named(requests[0]["name"]))
        break_off(self.road)
        return call.result().results

    def check_in_doubt(self, result):
        failure = harness.Failure().read_status(result.error)
        self.assertEqual((result.error.code, failure.reason), (UNKNOWN, "COMMIT_IN_DOUBT"))

    def test_of_a_batch_whose_commit_is_in_doubt_what_has_a_request_id_is_settled(self):
        requests = [{"queue": "q", "name": "mixed"} | extra
                    for extra in ({"request_id": "a"}, {}, {"request_id": "b"}, {})]
        results = self.create_and_lose_the_answer(requests)
        there = self.tasks_named("mixed")
        self.assertEqual(len(there), 4)
        self.assertEqual([results[0].task_id, results[2].task_id], [there[0], there[2]])
        self.check_in_doubt(results[1])
        self.check_in_doubt(results[3])

    def test_if_nothing_can_be_settled_what_has_a_request_id_may_be_sent_again(self):
        requests = [{"queue": "q", "name": "cut off", "request_id": "c"},
                    {"queue": "q", "name": "cut off"}]
        results = self.create_and_lose_the_answer(requests, Proxy.cut)
        failure = harness.Failure().read_status(results[0].error)
        self.assertEqual((results[0].error.code, failure.reason), (UNAVAILABLE, "COMMIT_IN_DOUBT"))
        self.check_in_doubt(results[1])
        self.road.open()
        there = self.tasks_named("cut off")
        again = harness.poll("the road", lambda: self.create_again(requests[0]))
        self.assertEqual((again.id, len(there)), (there[0], 2))

    def create_again(self, request):
        try:
            return self.service.tasks.CreateTask(**request)
        except grpc.RpcError as error:
            self.assertEqual(error.code().name, "UNAVAILABLE")
            return None

    def test_of_a_batch_without_request_ids_nothing_is_known(self):
        results = self.create_and_lose_the_answer([{"queue": "q", "name": "none"}] * 2)
        for result in results:
            self.check_in_doubt(result)
        self.assertEqual(len(self.tasks_named("none")), 2)


if __name__ == "__main__":
    unittest.main()
