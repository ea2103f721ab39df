"""What the scheduler promises of the tasks of a queue, written down a second time, without a database.

Calls come one after the other: each queue belongs to one client of test_task_model.py. Time plays no
part: what is due is due at once, what is not is an hour away, and leases do not run out by themselves.
"""

PENDING, RUNNING, SUCCEEDED, DEAD, CANCELLED, EXPIRED = range(1, 7)
ENDED = {SUCCEEDED, DEAD, CANCELLED, EXPIRED}

NOT_FOUND = ("NOT_FOUND", "TASK_NOT_FOUND")
LEASE_LOST = ("ABORTED", "LEASE_LOST")
TASK_ENDED = ("FAILED_PRECONDITION", "TASK_ENDED")
NOT_PENDING = ("FAILED_PRECONDITION", "TASK_NOT_PENDING")
NOT_DEAD = ("FAILED_PRECONDITION", "TASK_NOT_DEAD")
REUSED = ("ALREADY_EXISTS", "REQUEST_ID_REUSED")
TAKEN = ("ALREADY_EXISTS", "DEDUPE_KEY_TAKEN")

# (old state, new state) of a single call; see TaskState.
STEPS = {(PENDING, RUNNING), (PENDING, CANCELLED), (RUNNING, SUCCEEDED), (RUNNING, PENDING),
         (RUNNING, DEAD), (RUNNING, CANCELLED), (DEAD, PENDING)}


class Task:
    def __init__(self, task_id, fields):
        self.id = task_id
        self.token, self.old_tokens = None, []
        self.result = b""
        self.become(fields)

    def become(self, fields):
        """What a new task is, or one that is replaced."""
        self.name, self.priority = fields["name"], fields["priority"]
        self.payload, self.max_attempts = fields["payload"], fields["max_attempts"]
        self.dedupe_key = fields.get("dedupe_key", "")
        self.due = "delay" not in fields
        self.run_time = None  # known when the service has said it
        self.state, self.attempt, self.cancel = PENDING, 0, False
        self.errors = []

    def view(self):
        return (self.id, self.name, self.payload, self.priority, self.state, self.attempt,
                self.max_attempts, self.cancel and self.state == RUNNING, self.dedupe_key,
                self.result, self.errors)

    @staticmethod
    def view_of(answer):
        return (answer.id, answer.name, answer.payload, answer.priority, answer.state,
                answer.attempt, answer.max_attempts,
                answer.cancel_requested and answer.state == RUNNING, answer.dedupe_key,
                answer.result, [(error.attempt, error.text) for error in answer.errors])


class QueueModel:
    def __init__(self, name):
        self.name = name
        self.tasks = {}  # by id
        self.requests = {}  # request_id -> (fields, task id)
        self.keys = {}  # dedupe_key -> the task that had it last
        self.paused = False
        self.cancelled = self.died = self.retried = self.succeeded = self.expired = 0

    def in_state(self, *states):
        return [task for task in self.tasks.values() if task.state in states]

    def due(self):
        """In the order in which they are to be leased."""
        found = [] if self.paused else [t for t in self.in_state(PENDING) if t.due]
        return sorted(found, key=lambda t: (-t.priority, t.run_time))

    def move(self, task, state):
        """Counts a change of state, and forgets the lease of a task that is not RUNNING any more."""
        if task.state == RUNNING and state != SUCCEEDED and task.token:
            task.old_tokens.append(task.token)
            task.token = None
        self.succeeded += state == SUCCEEDED
        self.cancelled += state == CANCELLED
        self.expired += state == EXPIRED
        self.died += state == DEAD
        task.state = state

    # ---- Producers: a refusal, or the task that must be answered

    def create(self, fields):
        """A refusal, a task that is there (replaced, perhaps), or None: a new one, see `created`."""
        request = self.requests.get(fields["request_id"])
        if request:
            return self.tasks[request[1]] if request[0] == fields else REUSED
        holder = self.tasks.get(self.keys.get(fields.get("dedupe_key")))
        policy = fields.get("dedupe_policy")
        if holder is None or holder.state not in (PENDING, RUNNING):
            return None
        if policy == "DEDUPE_POLICY_REJECT":
            return TAKEN
        if policy == "DEDUPE_POLICY_REPLACE":
            if holder.state == RUNNING:
                return None
            holder.become(fields)
        self.requests[fields["request_id"]] = (fields, holder.id)
        return holder

    def created(self, fields, task_id):
        task = self.tasks[task_id] = Task(task_id, fields)
        self.requests[fields["request_id"]] = (fields, task_id)
        if task.dedupe_key:
            self.keys[task.dedupe_key] = task_id
        return task

    def cancel(self, task):
        if task.state in (SUCCEEDED, DEAD, EXPIRED):
            return TASK_ENDED
        if task.state == RUNNING:
            task.cancel = True
        elif task.state == PENDING:
            self.move(task, CANCELLED)
        return task

    def reschedule(self, task, due):
        if task.state != PENDING:
            return NOT_PENDING
        task.due = due
        return task

    def redrive(self, task):
        if task.state == DEAD:
            self.move(task, PENDING)
            task.attempt, task.due = 0, True
        return task if task.state == PENDING else NOT_DEAD

    def purge(self):
        pending = self.in_state(PENDING)
        for task in pending:
            self.move(task, CANCELLED)
        return len(pending)

    # ---- Workers

    def lease(self, task, token):
        self.move(task, RUNNING)
        task.attempt += 1
        task.token = token

    def ack(self, task, token, result):
        if not task.token or token != task.token or task.state not in (RUNNING, SUCCEEDED):
            return LEASE_LOST
        if task.state == RUNNING:
            self.move(task, SUCCEEDED)
            task.result = result
        return task

    def fail(self, task, token, error, for_good):
        if not self.held(task, token):
            return LEASE_LOST
        task.errors.append((task.attempt, error))
        if task.cancel:
            self.move(task, CANCELLED)
        elif for_good or task.attempt == task.max_attempts:
            self.move(task, DEAD)
        else:
            self.move(task, PENDING)
            self.retried += 1
            task.due = True  # its policy has no rest
        return task

    def release(self, task, token):
        if not self.held(task, token):
            return LEASE_LOST
        task.attempt -= not task.cancel
        self.move(task, CANCELLED if task.cancel else PENDING)
        task.due = True
        return task

    def extend(self, task, token):
        return task if self.held(task, token) else LEASE_LOST

    @staticmethod
    def held(task, token):
        return task.state == RUNNING and task.token and token == task.token

    # ---- Reads

    def stats(self):
        """As GetQueueStats counts them."""
        return (*(len(self.in_state(state)) for state in (PENDING, RUNNING, DEAD)),
                len(self.tasks), self.succeeded, self.cancelled, self.expired, self.died,
                self.retried)

    # ---- After a call whose answer was lost

    def adopt(self, test, answers, doubt):
        """Takes in what the service says; it may be one call further than the model, and no more.

        `doubt`: the states that the call may have brought its tasks to, by their ids.
        """
        test.assertEqual({answer.id for answer in answers}, set(self.tasks))
        for answer in answers:
            task = self.tasks[answer.id]
            test.assertLessEqual(answer.attempt, task.max_attempts)
            if answer.state == task.state:
                test.assertEqual(answer.attempt, task.attempt)
                continue
            test.assertIn((task.state, answer.state), STEPS, answer)
            test.assertIn(answer.state, doubt.get(task.id, ()), answer)
            if task.state == RUNNING and answer.state == PENDING:
                self.retried += answer.attempt == task.attempt
            if answer.state == RUNNING:
                test.assertEqual(answer.attempt, task.attempt + 1)
            task.due |= task.state in (RUNNING, DEAD)
            self.move(task, answer.state)
            task.attempt, task.result = answer.attempt, answer.result
            task.errors = [(error.attempt, error.text) for error in answer.errors]
