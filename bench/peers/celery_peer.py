"""Celery for bench/scheduler.sh: its task, and a producer.

As a module, the application of `celery -A celery_peer worker`. BENCH_BROKER is the broker; the worker
stops once BENCH_TASKS tasks have been done, and prints what it measured, as JSON of the form that
parley-bench prints. The clock starts when the worker is ready, with its children forked.

celery_peer.py PROCESSES THREADS SECONDS WARM_UP: sends tasks in a closed loop of PROCESSES x THREADS
callers, each with a connection of its own.
celery_peer.py fill TASKS: puts so many into the queue.
"""

import json
import multiprocessing
import os
import sys
import threading
import time

import celery
from celery.signals import worker_ready

app = celery.Celery("bench", broker=os.environ["BENCH_BROKER"])
app.conf.update(
    task_ignore_result=True,
    broker_pool_limit=None,  # what is asked for is opened, and kept
    worker_hijack_root_logger=False,
    worker_redirect_stdouts=False,
)

# Shared by the children of the worker, which are forked from the process that reads this.
done = multiprocessing.Value("q", 0)


@app.task(name="bench.noop")
def noop(_n):
    with done.get_lock():
        done.value += 1


@worker_ready.connect
def measure(sender, **_):
    start, tasks = time.perf_counter(), int(os.environ["BENCH_TASKS"])

    def wait():
        while done.value < tasks:
            time.sleep(0.005)
        seconds = time.perf_counter() - start
        report(tasks=tasks, seconds=seconds, rate=tasks / seconds, ok=True)
        os.kill(os.getpid(), 15)  # a warm shutdown

    threading.Thread(target=wait, daemon=True).start()


def report(**figures):
    print(json.dumps(figures), flush=True)


def fill(tasks):
    with app.producer_pool.acquire(block=True) as producer:
        for n in range(tasks):
            app.send_task("bench.noop", [n], producer=producer)


def send(barrier, threads, times, limits):
    """One process of the closed loop: puts the times of its calls into `times`."""
    warm_up, seconds = limits
    mine = [[] for _ in range(threads)]
    ready = threading.Barrier(threads + 1)

    def loop(found):
        with app.connection_for_write() as connection:
            producer = app.amqp.Producer(connection, auto_declare=False)
            app.send_task("bench.noop", [0], producer=producer)  # opens it
            ready.wait()
            start = time.perf_counter()
            first, end = begin[0] + warm_up, begin[0] + warm_up + seconds
            while start < end:
                app.send_task("bench.noop", [1], producer=producer)
                after = time.perf_counter()
                if first <= after <= end:
                    found.append(after - start)
                start = after

    begin = [0.0]
    callers = [threading.Thread(target=loop, args=(found,)) for found in mine]
    for caller in callers:
        caller.start()
    barrier.wait()
    begin[0] = time.perf_counter()
    ready.wait()
    for caller in callers:
        caller.join()
    times.put([taken for found in mine for taken in found])


def main():
    if sys.argv[1] == "fill":
        return fill(int(sys.argv[2]))
    processes, threads = int(sys.argv[1]), int(sys.argv[2])
    seconds, warm_up = float(sys.argv[3]), float(sys.argv[4])
    context = multiprocessing.get_context("fork")
    barrier, times = context.Barrier(processes), context.Queue()
    children = [
        context.Process(target=send, args=(barrier, threads, times, (warm_up, seconds)))
        for _ in range(processes)
    ]
    for child in children:
        child.start()
    found = sorted(taken for _ in children for taken in times.get())
    for child in children:
        child.join()

    def percentile(part):
        return 1000 * found[min(int(part * len(found)), len(found) - 1)]

    report(
        calls=len(found),
        seconds=seconds,
        rate=len(found) / seconds,
        p50_ms=percentile(0.5),
        p99_ms=percentile(0.99),
        max_ms=percentile(1),
        ok=all(child.exitcode == 0 for child in children),
    )


if __name__ == "__main__":
    main()
