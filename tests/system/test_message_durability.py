"""What an answered message is worth: processes are killed and connections cut while people send."""

import itertools
import threading
import unittest

import grpc

import harness

SENDERS = 16


class Sender:
    """Sends its messages one by one, each again under the same request_id until it is answered."""

    def __init__(self, chat, user, number, transport, total):
        self.chat, self.user, self.number = chat, user, number
        self.transport = transport  # () -> the client to use now
        self.total = total
        self.answered = {}  # request_id -> the answer
        self.refusals = set()
        self.repeats = 0

    def run(self):
        for i in range(self.total):
            name = f"{self.number}-{i}"
            self.answered[name] = harness.poll(f"message {name} to be answered",
                                               lambda name=name: self.attempt(name))

    def attempt(self, name):
        try:
            return self.transport().SendMessage(chat_id=self.chat.id, user_id=self.user.id,
                                                text="text of " + name, request_id=name)
        except grpc.RpcError as error:
            self.refusals.add(error.code().name)
            self.repeats += 1
            return None


class DurabilityCase(harness.SystemTest, harness.People):
    runs = ("chatd",)

    def setUp(self):
        self.people = [self.new_user() for _ in range(SENDERS)]
        self.chat = self.new_chat(self.people[0], self.people[1:])

    def senders(self, total, *transports):
        return [Sender(self.chat, user, number, transports[number % len(transports)], total)
                for number, user in enumerate(self.people)]

    def stored(self):
        return self.database.rows(
            "SELECT seq, id, text FROM messages WHERE chat_id = %s ORDER BY seq", self.chat.id)

    def check_exactly_once(self, senders):
        """Every answered message is there as answered, once, and no other; no seq is missing."""
        answers = [answer for sender in senders for answer in sender.answered.values()]
        self.assertEqual(self.stored(), sorted((m.seq, m.id, m.text) for m in answers))
        self.assertEqual([row[0] for row in self.stored()], list(range(1, len(answers) + 1)))
        for sender in senders:
            for name, answer in sender.answered.items():
                self.assertEqual(answer.text, "text of " + name)

    def cut_connections(self):
        harness.poll("connections to cut", self.database.terminate_backends)

    def disturbed(self, senders, disturb, times):
        """Lets the senders run and calls `disturb` after every further part of their messages."""
        total = sum(sender.total for sender in senders)
        threads = [threading.Thread(target=sender.run) for sender in senders]
        for thread in threads:
            thread.start()
        for time in range(1, times + 1):
            part = total * time // (times + 1)
            harness.poll(f"{part} of {total} messages to be answered", lambda part=part: sum(
                len(sender.answered) for sender in senders) >= part)
            disturb()
        for thread in threads:
            thread.join()
        self.assertEqual(sum(len(sender.answered) for sender in senders), total)


class TwoProcessesTest(DurabilityCase):
    def test_senders_on_two_processes_share_one_sequence(self):
        one, two = self.start("messaged"), self.start("messaged")
        senders = self.senders(20, lambda: one.messages, lambda: two.messages)
        harness.in_threads(SENDERS, lambda number: senders[number].run())
        self.assertEqual({sender.repeats for sender in senders}, {0})
        self.check_exactly_once(senders)

    def test_twins_on_two_processes_write_one_message(self):
        services = [self.start("messaged"), self.start("messaged")]
        for attempt in range(10):
            replies = harness.in_threads(8, lambda i, attempt=attempt: services[
                i % 2].messages.SendMessage(chat_id=self.chat.id, user_id=self.people[0].id,
                                            text="twin", request_id=f"twin-{attempt}"))
            self.assertEqual({(reply.id, reply.seq) for reply in replies},
                             {(replies[0].id, attempt + 1)})
        self.assertEqual(len(self.stored()), 10)


class KilledTest(DurabilityCase):
    def test_a_killed_process_loses_no_answered_message_and_doubles_none(self):
        running = [self.start("messaged")]

        def kill_and_replace():
            self.assertNotEqual(running[-1].kill(), 0)
            running.append(self.start("messaged"))

        senders = self.senders(40, lambda: running[-1].messages)
        self.disturbed(senders, kill_and_replace, times=3)
        self.assertGreater(sum(sender.repeats for sender in senders), 0, "nothing was disturbed")
        self.assertEqual(set().union(*(sender.refusals for sender in senders)), {"UNAVAILABLE"})
        self.check_exactly_once(senders)

        # Whoever lost the answer, or forgot it, gets the same again.
        for sender in senders:
            for name, answer in itertools.islice(sender.answered.items(), 0, None, 10):
                self.assertEqual(sender.attempt(name), answer)
        self.check_exactly_once(senders)


class CutConnectionsTest(DurabilityCase):
    def test_with_a_request_id_cut_connections_cost_nothing_but_a_repeat(self):
        service = self.start("messaged")
        senders = self.senders(40, lambda: service.messages)
        self.disturbed(senders, self.cut_connections, times=5)
        self.assertLessEqual(set().union(*(sender.refusals for sender in senders)),
                             {"UNAVAILABLE"})
        self.check_exactly_once(senders)
        self.assertIsNone(service.process.poll())

    def test_without_one_the_code_says_what_is_known_of_the_message(self):
        service = self.start("messaged")
        outcomes = {}  # text -> code

        def send(number):
            for i in range(60):
                text = f"{number}-{i}"
                try:
                    service.messages.SendMessage(
                        chat_id=self.chat.id, user_id=self.people[number].id, text=text)
                    outcomes[text] = "OK"
                except grpc.RpcError as error:
                    failure = harness.Failure().read(error)
                    outcomes[text] = (failure.code, failure.reason)

        senders = threading.Thread(target=harness.in_threads, args=(SENDERS, send))
        senders.start()
        for part in range(100, 900, 100):
            harness.poll(f"{part} outcomes", lambda part=part: len(outcomes) >= part)
            self.cut_connections()
        senders.join()

        self.assertEqual(len(outcomes), SENDERS * 60)
        texts = [text for _, _, text in self.stored()]
        self.assertEqual(len(texts), len(set(texts)))
        for text, outcome in outcomes.items():
            if outcome == "OK":
                self.assertIn(text, texts)
            elif outcome[0] == "UNAVAILABLE":
                self.assertNotIn(text, texts)
            else:
                self.assertEqual(outcome, ("UNKNOWN", "COMMIT_IN_DOUBT"))
        self.assertEqual([seq for seq, _, _ in self.stored()], list(range(1, len(texts) + 1)))

    def test_a_service_at_rest_recovers_without_an_error_that_stays(self):
        service = self.start("messaged")
        senders = self.senders(1, lambda: service.messages)
        harness.in_threads(SENDERS, lambda number: senders[number].run())
        self.cut_connections()
        again = self.senders(1, lambda: service.messages)
        for number, sender in enumerate(again):
            sender.number = f"again-{number}"
        harness.in_threads(SENDERS, lambda number: again[number].run())
        self.check_exactly_once(senders + again)
        self.assertEqual(service.health_of(""), "SERVING")


if __name__ == "__main__":
    unittest.main()
