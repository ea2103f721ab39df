"""The programs under test, and the settings that say where they are."""

import os
import subprocess
import sys

# Whether the binaries are those of the preset dev, which take several times as long.
IS_SANITIZED = "/dev/" in os.environ.get("PARLEY_BIN_DIR", "")
PATIENCE = 60  # seconds until something that must happen counts as not happening


def setting(name):
    value = os.environ.get(name)
    if not value:
        sys.exit(f"{name} is not set; tests/run.sh sets it")
    return value


def binary(name):
    return os.path.join(setting("PARLEY_BIN_DIR"), "parley-" + name)


def environment(url, extra=None):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PARLEY_")}
    # Services run side by side, so that each has to take a free port.
    always = {"TZ": "UTC", "PARLEY_ADMIN_LISTEN": "127.0.0.1:0"}
    return clean | always | ({"PARLEY_DATABASE_URL": url} if url else {}) | (extra or {})


def run_binary(name, *arguments, url=None, check=True, env=None):
    """Runs a binary to its end."""
    try:
        done = subprocess.run([binary(name), *arguments], env=environment(url, env), text=True,
                              capture_output=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired as expired:
        raise AssertionError(f"parley-{name} {arguments} does not end:\n"
                             f"{(expired.stderr or b'').decode()}") from None
    if check and done.returncode != 0:
        raise AssertionError(f"parley-{name} {arguments}: exit code {done.returncode}\n"
                             f"{done.stdout}{done.stderr}")
    return done
