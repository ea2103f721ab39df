"""Scheduled messages: sent at their time, exactly once, whatever is killed meanwhile."""

import random
import time
import unittest

import grpc

import harness

SCHEDULED, SENT, CANCELLED, FAILED = range(1, 5)


class ScheduleCase(harness.SystemTest, harness.People):
    runs = ("chatd",)

    def setUp(self):
        self.owner, self.author = self.new_user(), self.new_user()
        self.chat = self.new_chat(self.owner, [self.author])

    def schedule(self, service, seconds, text="later", **fields):
        at = time.time_ns() + int(seconds * 1e9)
        at = {"seconds": at // 10**9, "nanos": at % 10**9}
        return service.messages.ScheduleMessage(**{
            "chat_id": self.chat.id, "user_id": self.author.id, "text": text, "run_time": at}
            | fields)

    def all_of(self, service, **fields):
        pages = self.all_pages(service.messages.ListScheduledMessages, "scheduled_messages",
                               user_id=self.author.id, limit=100, **fields)
        return [scheduled for page in pages for scheduled in page]

    def ended(self, service, scheduled):
        def look():
            found = next(other for other in self.all_of(service) if other.id == scheduled.id)
            return found if found.state != SCHEDULED else None
        return harness.poll("the scheduled message to end", look)

    def stored(self):
        return self.database.rows(
            "SELECT seq, text FROM messages WHERE chat_id = %s ORDER BY seq", self.chat.id)


class ScheduleTest(ScheduleCase):
    def test_a_message_is_sent_within_moments_of_its_time(self):
        service = self.start("messaged")
        lateness = []
        for _ in range(5):
            scheduled = self.schedule(service, 0.5)
            sent = self.ended(service, scheduled)
            self.assertEqual((sent.state, sent.text), (SENT, ""))
            message = service.messages.GetMessage(chat_id=self.chat.id, seq=sent.seq)
            self.assertEqual((message.text, message.user_id), ("later", self.author.id))
            lateness.append(message.create_time.ToMicroseconds()
                            - scheduled.run_time.ToMicroseconds())
        self.assertGreaterEqual(min(lateness), 0)
        self.assertLess(min(lateness), 100_000)

    def test_another_process_sends_what_was_scheduled_by_one_that_is_gone(self):
        doomed, other = self.start("messaged"), self.start("messaged")
        scheduled = self.schedule(doomed, 1)
        doomed.kill()
        self.assertEqual(self.ended(other, scheduled).state, SENT)

    def test_who_has_left_the_chat_is_refused_and_it_shows(self):
        service = self.start("messaged")
        scheduled = self.schedule(service, 0.5)
        self.chats.RemoveUserFromChat(chat_id=self.chat.id, user_id=self.author.id)
        failed = self.ended(service, scheduled)
        self.assertEqual((failed.state, failed.failure_reason), (FAILED, "NOT_A_MEMBER"))
        self.assertEqual(self.stored(), [])
        with self.assert_error("FAILED_PRECONDITION", "SCHEDULED_MESSAGE_ENDED"):
            service.messages.CancelScheduledMessage(scheduled_message_id=scheduled.id,
                                                    user_id=self.author.id)

    def test_local_times_in_gaps_and_folds(self):
        service = self.start("messaged", "--time-zone", "Europe/Berlin")
        for local, policies, resolution, expected in (
                ("2027-03-28T02:30:00", {}, 2, "2027-03-28T01:30:00Z"),
                ("2027-10-31T02:30:00", {}, 3, "2027-10-31T00:30:00Z"),
                ("2027-10-31T02:30:00", {"fold_policy": "FOLD_POLICY_SECOND"}, 3,
                 "2027-10-31T01:30:00Z"),
                ("2027-07-01T12:00:00", {}, 1, "2027-07-01T10:00:00Z")):
            for zone in ("", "Europe/Berlin"):
                scheduled = service.messages.ScheduleMessage(
                    chat_id=self.chat.id, user_id=self.author.id, text="x",
                    local_time={"date_time": local, "time_zone": zone, **policies})
                self.assertEqual((scheduled.local_time_resolution,
                                  scheduled.run_time.ToJsonString()), (resolution, expected))
        for local, policy in (("2027-03-28T02:30:00", {"gap_policy": "GAP_POLICY_REJECT"}),
                              ("2027-10-31T02:30:00", {"fold_policy": "FOLD_POLICY_REJECT"})):
            with self.assert_error("INVALID_ARGUMENT", field="local_time.date_time"):
                service.messages.ScheduleMessage(
                    chat_id=self.chat.id, user_id=self.author.id, text="x",
                    local_time={"date_time": local, **policy})

    def test_the_task_is_seen_but_not_leased_by_others(self):
        service, scheduler = self.start("messaged"), self.start("schedulerd")
        scheduled = self.schedule(service, 3600)
        task = scheduler.tasks.GetTask(task_id=scheduled.task_id)
        self.assertEqual(task.queue, "parley.scheduled-messages")
        with self.assert_error("INVALID_ARGUMENT", field="queues"):
            scheduler.workers.LeaseTasks(queues=[task.queue])
        with self.assert_error("INVALID_ARGUMENT", field="queue"):
            scheduler.tasks.CreateTask(queue=task.queue, name="forged")
        scheduler.tasks.CancelTask(task_id=task.id)
        self.assertEqual(self.ended(service, scheduled).state, CANCELLED)

    def test_twins_schedule_one_message(self):
        services = [self.start("messaged"), self.start("messaged")]
        replies = harness.in_threads(8, lambda i: self.schedule(
            services[i % 2], 0, request_id="twin",
            run_time={"seconds": 4_000_000_000}))
        self.assertEqual(len({reply.id for reply in replies}), 1)


class KilledTest(ScheduleCase):
    ROUNDS, EACH = 8, 60

    def test_killed_processes_lose_no_scheduled_message_and_double_none(self):
        """Two processes send; while both are busy one is killed, again and again."""
        chance = random.Random(20261124)
        running = [self.start("messaged"), self.start("messaged")]
        scheduled, start = {}, time.time() + 5
        harness.in_threads(8, lambda number: [
            scheduled.setdefault(f"{number}-{i}", self.schedule(
                running[i % 2], start + i % self.ROUNDS - time.time(), text=f"{number}-{i}"))
            for i in range(number, self.ROUNDS * self.EACH, 8)])
        for number in range(self.ROUNDS):
            time.sleep(max(0.0, start + number + 0.005 + 0.05 * chance.random() - time.time()))
            victim = chance.randrange(2)
            running[victim].kill()
            running[victim] = self.start("messaged")

        def left():
            return [s for s in self.all_of(running[0], state=SCHEDULED)]
        harness.poll("all to be sent", lambda: not left(), seconds=120)
        ended = {s.id: s for s in self.all_of(running[0])}
        self.assertEqual({s.state for s in ended.values()}, {SENT})
        stored = self.stored()
        self.assertEqual(sorted(text for _, text in stored), sorted(scheduled))
        self.assertEqual({seq: text for seq, text in stored},
                         {ended[s.id].seq: text for text, s in scheduled.items()})
        again = self.database.value(
            "SELECT count(*) FROM all_tasks "
            "WHERE attempt > 1 AND queue = 'parley.scheduled-messages'")
        self.assertGreater(again, 0, "no kill hit anything")

    def test_a_process_killed_between_the_message_and_its_end_doubles_nothing(self):
        doomed = self.start("messaged")
        scheduled = self.schedule(doomed, 1)
        with self.database.locked("scheduled_messages", scheduled.id):
            harness.poll("the message to be there", self.stored)
            harness.poll("the end to wait for the lock", self.database.blocked_statements)
            doomed.kill()
        other = self.start("messaged")
        sent = self.ended(other, scheduled)
        self.assertEqual((sent.state, sent.seq), (SENT, 1))
        self.assertEqual(self.stored(), [(1, "later")])
        self.assertEqual(self.database.value("SELECT attempt FROM all_tasks WHERE id = %s",
                                             scheduled.task_id), 2)

    def test_a_message_is_either_cancelled_or_sent(self):
        service = self.start("messaged")
        scheduled = [self.schedule(service, 1 + i / 100, text=str(i)) for i in range(100)]
        answers = {}
        for i, one in enumerate(scheduled):
            delay = one.run_time.ToMicroseconds() / 1e6 - time.time()
            time.sleep(max(0.0, delay))
            try:
                answers[i] = service.messages.CancelScheduledMessage(
                    scheduled_message_id=one.id, user_id=self.owner.id).state
            except grpc.RpcError as error:
                answers[i] = harness.Failure().read(error).reason
        for one in scheduled:
            self.ended(service, one)
        sent = {int(text) for _, text in self.stored()}
        self.assertEqual(sent, {i for i, answer in answers.items()
                                if answer == "SCHEDULED_MESSAGE_ENDED"})
        self.assertEqual(set(answers) - sent,
                         {i for i, answer in answers.items() if answer == CANCELLED})


if __name__ == "__main__":
    unittest.main()
