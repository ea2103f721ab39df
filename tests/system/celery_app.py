"""An application of Celery's that knows nothing of Parley; brokers.CeleryWorker runs it."""

import json
import os
import pathlib
import time

from celery import Celery

app = Celery("celery_app", broker=os.environ["CELERY_APP_BROKER"],
             backend=os.environ["CELERY_APP_BACKEND"] or None)
app.conf.broker_transport_options = json.loads(os.environ["CELERY_APP_TRANSPORT"])
NOTES = pathlib.Path(os.environ["CELERY_APP_NOTES"])


def note(what, task, **more):
    line = json.dumps({"what": what, "task": task.name, "id": task.request.id,
                       "retries": task.request.retries, **more}) + "\n"
    with open(NOTES, "ab", buffering=0) as notes:
        notes.write(line.encode())


@app.task(name="queue.test", bind=True)
def queue_test(self, *args, **kwargs):
    request = self.request
    note("ran", self, args=args, kwargs=kwargs, at=time.time(),
         trace=request.get("x-trace"), priority=request.delivery_info["priority"])
    return {"args": args, "kwargs": kwargs}


@app.task(name="fail", bind=True)
def fail(self, text):
    note("ran", self)
    raise ValueError(text)


@app.task(name="fail_twice", bind=True)
def fail_twice(self):
    note("ran", self)
    if self.request.retries < 2:
        raise ValueError(f"not at attempt {self.request.retries + 1}")
    return "at last"


@app.task(name="big", bind=True)
def big(self, size):
    note("ran", self)
    return "x" * size


@app.task(name="retry_itself", bind=True, max_retries=5)
def retry_itself(self):
    note("ran", self)
    if self.request.retries < 2:
        raise self.retry(countdown=0)
    return self.request.retries


def hold(task):
    """Waits until the test lets go."""
    note("ran", task)
    while not (NOTES.parent / "go").exists():
        time.sleep(0.02)
    note("ended", task)
    return "held"


@app.task(name="wait", bind=True)
def wait(self):
    return hold(self)


@app.task(name="wait_acks_late", bind=True, acks_late=True)
def wait_acks_late(self):
    return hold(self)
