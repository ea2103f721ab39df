"""The published service configs at work: a caller with message.json, and servers that go away."""

import collections
import threading
import unittest

import grpc

import harness
import proxy

CONFIG = (harness.ROOT / "deploy/service_config/message.json").read_text(encoding="utf-8")


class ServiceConfigTest(harness.SystemTest, harness.People):
    runs = ("chatd",)

    def setUp(self):
        self.owner = self.new_user()
        self.chat = self.new_chat(self.owner)

    def caller_of(self, *ports):
        """Calls of a channel that has the config and nothing else, to servers on these ports."""
        channel = grpc.insecure_channel(
            "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports),
            options=[("grpc.service_config", CONFIG), ("grpc.enable_http_proxy", 0),
                     ("grpc.use_local_subchannel_pool", 1)])
        self.addCleanup(channel.close)
        return harness.Client(channel, *harness.CLIENTS["messaged"]["messages"])

    def send(self, caller, name):
        return caller.begin("SendMessage", chat_id=self.chat.id, user_id=self.owner.id, text=name,
                            request_id=name)

    def texts(self):
        return [text for text, in self.database.rows(
            "SELECT text FROM messages WHERE chat_id = %s ORDER BY seq", self.chat.id)]

    def port_of(self, service):
        return int(service.address.rpartition(":")[2])

    def calls_of(self, service):
        return collections.Counter(line["grpc.method"] for line in service.log()
                                   if "grpc.method" in line)

    def start_behind_road(self):
        service = self.start("messaged")
        road = proxy.Road("127.0.0.1", self.port_of(service))
        self.addCleanup(road.cut)
        return service, road

    def test_a_write_whose_answer_is_lost_is_sent_again_and_written_once(self):
        service, road = self.start_behind_road()
        caller = self.caller_of(road.port)
        self.assertEqual(self.send(caller, "first").result().seq, 1)
        road.lose_answers()
        call = self.send(caller, "second")
        harness.poll("the message to be written", lambda: "second" in self.texts())
        self.assertFalse(call.done())
        road.drop()
        self.assertEqual(call.result().seq, 2)
        self.assertEqual(self.texts(), ["first", "second"])
        harness.poll("both attempts to be logged",
                     lambda: self.calls_of(service)["SendMessage"] == 3)

    def test_a_write_that_could_happen_twice_is_not_sent_again(self):
        service, road = self.start_behind_road()
        caller = self.caller_of(road.port)
        message = self.send(caller, "before").result()
        road.lose_answers()
        call = caller.begin("UpdateMessage", message={"id": message.id, "text": "after"},
                            user_id=self.owner.id)
        harness.poll("the text to change", lambda: self.texts() == ["after"])
        road.drop()
        self.assertEqual(call.exception().code(), grpc.StatusCode.UNAVAILABLE)
        # The connection is there again, and what came before on it would have been logged.
        self.assertEqual(self.send(caller, "next").result().seq, 2)
        self.assertEqual(self.calls_of(service)["UpdateMessage"], 1)

    def test_a_read_waits_for_a_server_that_is_away_for_a_moment(self):
        _, road = self.start_behind_road()
        caller = self.caller_of(road.port)
        self.send(caller, "here").result()
        road.cut()
        call = caller.begin("ListMessages", chat_id=self.chat.id)
        opening = threading.Timer(0.3, road.open)
        opening.start()
        self.assertEqual([m.text for m in call.result().messages], ["here"])
        opening.join()

    def test_calls_go_round_and_pass_over_who_is_not_serving(self):
        database_road = proxy.Proxy(self.database.url)
        self.addCleanup(database_road.cut)
        well, ill = self.start("messaged"), self.start("messaged", url=database_road.url)
        caller = self.caller_of(self.port_of(well), self.port_of(ill))

        def mark():
            """A call that the config does not repeat."""
            try:
                caller.MarkRead(chat_id=self.chat.id, user_id=self.owner.id)
            except grpc.RpcError as error:
                self.assertEqual(error.code(), grpc.StatusCode.UNAVAILABLE)
                return False
            return True

        def both_are_called():
            before = [self.calls_of(service)["MarkRead"] for service in (well, ill)]
            mark()
            mark()
            return all(self.calls_of(service)["MarkRead"] > count
                       for service, count in zip((well, ill), before))

        harness.poll("both servers to be called", both_are_called)
        database_road.cut()
        harness.poll("the caller to know", lambda: all(mark() for _ in range(4)))
        self.assertEqual(ill.health_of("parley.message.v1.MessageService"), "NOT_SERVING")
        before = self.calls_of(ill)["MarkRead"]
        for _ in range(20):
            self.assertTrue(mark())
        self.assertEqual(self.calls_of(ill)["MarkRead"], before)
        database_road.open()
        harness.poll("both servers to be called again", both_are_called)


if __name__ == "__main__":
    unittest.main()
