"""libfaketime: what puts a process under a clock of a test's own, and what it leaves behind.

Its own locks do not go together with AddressSanitizer: a program built with that may hang at its start.
"""

import os
import pathlib

# $LIB is for the loader to replace. Clocks that only measure how long something takes are left alone.
ENVIRONMENT = {"LD_PRELOAD": "/usr/$LIB/faketime/libfaketime.so.1",
               "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def sweep():
    """Removes the shared memory that it has left of processes that are gone."""
    for path in pathlib.Path("/dev/shm").glob("*faketime_s*_*"):
        if not os.path.exists("/proc/" + path.name.rpartition("_")[2]):
            path.unlink(missing_ok=True)
