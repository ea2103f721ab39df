#!/usr/bin/python3
"""Checks every #include of base/, db/ and services/ against the plan of the house.

ROOMS below is that plan (ARCHITECTURE.md shows it as a table): what the files of a room may include,
of the project and of other people's libraries. Whatever is not named is forbidden, so a new library
or a new edge between rooms is a decision that shows in this file. Tests may include anything.
"""

import pathlib
import re
import sys

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"]+)"|<([^>]+)>)', re.MULTILINE)
SERVICES = ("chat", "message", "scheduler")

# Other people's headers by the prefix of their path; the first that fits names the library.
LIBRARIES = (
    ("absl/", "absl"),
    ("soci/", "soci"),
    ("libpq-fe.h", "libpq"),
    ("libpq/", "libpq"),
    ("grpcpp/", "grpc"),
    ("grpc/", "grpc"),
    ("google/protobuf/", "protobuf"),
    ("google/rpc/", "rpc details"),
    ("parley/", "proto"),
    ("sodium.h", "sodium"),
    ("utf8proc.h", "utf8proc"),
    ("nlohmann/", "json"),
    ("spdlog/", "spdlog"),
    ("CLI/", "cli11"),
    ("prometheus/", "prometheus"),
    ("boost/asio/", "beast"),
    ("boost/beast/", "beast"),
    ("hiredis/", "hiredis"),
    ("amqp", "rabbitmq"),
    ("openssl/", "openssl"),
    ("rhonabwy.h", "rhonabwy"),
)
# Headers of C and POSIX have a dot or a folder, those of C++ neither.
SYSTEM = re.compile(r"(sys|netinet|arpa|net)/[a-z_]+\.h|[a-z_]+\.h")

WIRE = {"grpc", "protobuf", "rpc details", "proto"}

# Room -> (rooms of the project, libraries). Each room may include itself, the C++ library and absl.
ROOMS = {
    "base": (set(), {"sodium", "utf8proc", "system"}),
    "db/model": ({"base"}, set()),
    "db/core": ({"base", "db/model"}, {"soci", "libpq", "system"}),
    "db/repository": ({"base", "db/model", "db/core"}, {"soci", "json"}),
    "db/migrator": ({"base", "db/core"}, {"libpq", "system"}),
    # Makes the original's database ours.
    "db/adopt": ({"base", "db/core", "db/migrator"}, {"libpq", "system"}),
    "db/migrator cli": (
        {"base", "db/adopt", "db/core", "db/migrator"},
        {"libpq", "cli11", "json", "system"},
    ),
    "services/runtime": (
        {"base"},
        {"grpc", "protobuf", "rpc details", "spdlog", "json", "cli11", "openssl", "sodium", "prometheus",
         "beast", "system"},
    ),
    # Who may call what; the one room that knows the methods of all services.
    "services/access": (
        {"base", "db/repository", "services/runtime"},
        {"grpc", "protobuf", "proto", "json", "rhonabwy", "sodium"},
    ),
    # What services share beyond the runtime; it knows the tasks, and none of the services.
    "services/jobs": (
        {"base", "db/model", "db/core", "db/repository", "services/runtime"},
        {"system"},
    ),
    # Celery's wire formats and brokers; it knows the tasks as such, and neither services nor database.
    "services/celery": ({"base", "db/model"}, {"json", "hiredis", "rabbitmq", "system"}),
    "services/jobs convert": (
        {"services/jobs", "base", "db/model", "services/runtime"},
        {"protobuf", "proto"},
    ),
}
# A service's files by what they are for. "own" is the service's folder.
PARTS = {
    "rules": ({"own", "base", "db/model"}, {"utf8proc"}),
    "convert": ({"own", "base", "db/model", "services/jobs", "services/runtime"}, {"protobuf", "proto"}),
    "main": (
        {"own", "base", "db/model", "db/core", "db/repository", "db/migrator", "services/access",
         "services/jobs", "services/runtime"},
        {"system"},
    ),
    "service": (
        {"own", "base", "db/model", "db/repository", "services/jobs", "services/runtime"},
        {"grpc", "protobuf", "proto", "sodium", "system"},
    ),
}
for service in SERVICES:
    for part, (rooms, libraries) in PARTS.items():
        own = f"services/{service}"
        ROOMS[f"{own} {part}"] = ({own if room == "own" else room for room in rooms}, libraries)
for part in ("main", "service"):
    ROOMS[f"services/scheduler {part}"][0].add("services/celery")


def room_of(path):
    """The entry of ROOMS that a file of the project belongs to; None if there is none."""
    parts = pathlib.PurePosixPath(path).parts
    if parts[0] == "base":
        return "base"
    folder = "/".join(parts[:2])
    if folder == "services/jobs" and pathlib.PurePosixPath(path).stem.endswith("_convert"):
        return "services/jobs convert"
    if parts[:3] == ("db", "migrator", "cli"):
        return "db/migrator cli"
    if folder in ROOMS:
        return folder
    if parts[0] == "services" and len(parts) > 2 and parts[1] in SERVICES:
        stem = pathlib.PurePosixPath(path).stem
        for part in ("rules", "convert", "main"):
            if stem == part or stem.endswith("_" + part):
                return f"{folder} {part}"
        # The service itself, and whatever else only this service has.
        return f"{folder} service"
    return None


def target_of(header):
    """What an included header belongs to: ("room", name), ("library", name) or ("unknown", None)."""
    first = header.split("/", 1)[0]
    if first == "base" and "/" in header:
        return "room", "base"
    if first in ("db", "services") and "/" in header:
        return "room", "/".join(header.split("/")[:2])
    for prefix, library in LIBRARIES:
        if header.startswith(prefix):
            return "library", library
    if "." not in header and "/" not in header:
        return "library", "std"
    if SYSTEM.fullmatch(header):
        return "library", "system"
    return "unknown", None


def forbidden(room, header):
    """Why a file of the room may not include the header; None if it may."""
    rooms, libraries = ROOMS[room]
    kind, target = target_of(header)
    if kind == "room":
        if target == room or target in rooms:
            return None
        return f"{room} may not include {target}"
    if kind == "library":
        if target in libraries or target in ("std", "absl"):
            return None
        return f"{room} may not include {target}"
    return "the plan does not know this header"


def check(root):
    """All violations below `root`, one line each, and the number of includes seen."""
    problems, seen = [], 0
    for top in ("base", "db", "services"):
        for path in sorted((root / top).rglob("*")):
            if path.suffix not in (".h", ".cc") or path.stem.endswith("_test"):
                continue
            name = path.relative_to(root).as_posix()
            room = room_of(name)
            text = path.read_text(encoding="utf-8")
            if room is None:
                problems.append(f"{name}: in no room of the plan")
                continue
            for match in INCLUDE.finditer(text):
                seen += 1
                header = match.group(1) or match.group(2)
                why = forbidden(room, header)
                if why:
                    line = text.count("\n", 0, match.start()) + 1
                    problems.append(f"{name}:{line}: {header}: {why}")
    return problems, seen


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()
    problems, seen = check(root)
    for problem in problems:
        print(problem)
    if seen == 0:
        print(f"no #include found below {root}")
        return 1
    print(f"{seen} includes, {len(problems)} against the plan")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
