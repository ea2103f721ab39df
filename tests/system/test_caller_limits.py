"""What one caller may take, and how the others are kept from harm."""

import unittest

import grpc

import harness
from credentials import SigningKey
from token_cases import TokenCase

REFUSED = "RESOURCE_EXHAUSTED"


class CallerLimitsTest(TokenCase, harness.People):
    runs = ("chatd",)

    def setUp(self):
        super().setUp()
        self.key = SigningKey("EdDSA", "one")

    def token(self, caller):
        return self.key.token("chat.read message.read task.work", sub=caller)

    def assert_refused(self, reason, call, **fields):
        with self.assert_error(REFUSED, reason=reason) as failure:
            call(**fields)
        self.assertGreater(failure.retry_delay, 0)
        # What gRPC's clients wait by themselves.
        self.assertGreaterEqual(int(failure.trailers["grpc-retry-pushback-ms"]),
                                int(failure.retry_delay * 1000))
        return failure

    def test_calls_in_flight(self):
        schedulerd = self.serve("schedulerd", flags=["--caller-calls", "3"])
        greedy, modest = (schedulerd.workers.bearing(self.token(name)) for name in ("a", "b"))
        waiting = [greedy.begin("LeaseTasks", queues=["q"], wait_for={"seconds": 50})
                   for _ in range(4)]
        [refused] = harness.poll("one to be refused", lambda: [
            call for call in waiting if call.done()])
        failure = self.refusal(refused.result)
        self.assertEqual((failure.reason, failure.quotas), ("TOO_MANY_CALLS", ["caller:a"]))
        modest.LeaseTasks(queues=["q"])
        for call in waiting:
            call.cancel()
        harness.poll("room again", lambda: not self.refusal(
            lambda: greedy.LeaseTasks(queues=["q"])))

    def test_streams(self):
        messaged = self.serve("messaged", flags=["--caller-streams", "2"])
        greedy, other = (messaged.messages.bearing(self.token(name)) for name in ("a", "b"))
        chats = [self.new_chat(self.new_user()).id]
        watches = [greedy.begin("WatchMessages", chat_ids=chats) for _ in range(2)]
        for watch in watches:
            next(watch)
        self.assert_refused("TOO_MANY_STREAMS", lambda: list(
            greedy.begin("WatchMessages", chat_ids=chats)))
        greedy.BatchGetMessages(message_ids=[1])  # a call is no stream
        next(other.begin("WatchMessages", chat_ids=chats))
        watches[0].cancel()
        harness.poll("room again", lambda: not self.refusal(
            lambda: next(greedy.begin("WatchMessages", chat_ids=chats, timeout=5))))

    def test_rates(self):
        chatd = self.serve("chatd", flags=["--caller-rate", "5"])
        users = chatd.users.bearing(self.token("a"))
        failure = harness.poll("a refusal", lambda: self.refusal(users.ListUsers))
        self.assertEqual((failure.reason, failure.metadata["limit"]), ("RATE_LIMITED", "5"))
        chatd.users.bearing(self.token("b")).ListUsers()
        # Of those who show nothing, no limit is asked.
        with self.assert_error("UNAUTHENTICATED"):
            chatd.users.ListUsers()
        harness.poll("to be let in again", lambda: not self.refusal(users.ListUsers))

    def test_callers_without_a_name_are_addresses(self):
        chatd = self.start("chatd", "--caller-rate", "5")
        failure = harness.poll("a refusal", lambda: self.refusal(chatd.users.ListUsers))
        self.assertEqual(failure.quotas, ["caller:ipv4:127.0.0.1"])
        # Through whichever connection.
        other = chatd.new_channel()
        self.addCleanup(other.close)
        client = harness.Client(other, *harness.CLIENTS["chatd"]["users"])
        harness.poll("a refusal", lambda: self.refusal(client.ListUsers))

    @staticmethod
    def refusal(call):
        """What a call was refused with for a limit; None if it was not."""
        try:
            call()
            return None
        except grpc.RpcError as error:
            if error.code().name != REFUSED:
                raise
            failure = harness.Failure().read(error)
            return failure


if __name__ == "__main__":
    unittest.main()
