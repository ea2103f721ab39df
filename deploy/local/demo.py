#!/usr/bin/python3
"""Replays a conversation through the three running services, then lets a worker receive a task.

The conversation is a file of JSON Lines, one object a line: {"speaker": "...", "text": "..."}.
Speakers become users (found again by login in a later run), every run has a chat and a queue of its
own. Whatever does not come back as it was sent ends the demo with exit code 1.
"""

import argparse
import base64
import codecs
import datetime
import json
import os
import secrets
import shlex
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DEFAULT_FILE = os.path.join(ROOT, "deploy", "local", "conversations", "mad-tea-party.jsonl")
MAX_SPEAKER = 256
MAX_TEXT = 1024
PAGE = 5
SHOWN = 60  # messages of a longer conversation are counted, not printed
DELAY = 2.0


class DemoError(Exception):
    """Ends the demo; its text is for the reader."""


# ---- The conversation file -----------------------------------------------------------------------


def checked_text(value, name, limit):
    """The string, or ValueError saying why the services would refuse it."""
    if not isinstance(value, str):
        raise ValueError(f'"{name}" must be a string')
    if not value:
        raise ValueError(f'"{name}" is empty')
    if len(value) > limit:
        raise ValueError(f'"{name}" has {len(value)} characters; {limit} are allowed')
    if "\0" in value:
        raise ValueError(f'"{name}" contains U+0000')
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError(f'"{name}" contains half of a surrogate pair')
    return value


def parse_line(raw):
    """One line of the file as (speaker, text); ValueError says what is wrong with it."""
    try:
        line = json.loads(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start + 1}") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise ValueError("not JSON: nested too deeply") from None
    if not isinstance(line, dict):
        raise ValueError('not an object {"speaker": ..., "text": ...}')
    for name in ("speaker", "text"):
        if name not in line:
            raise ValueError(f'"{name}" is missing')
    return (
        checked_text(line["speaker"], "speaker", MAX_SPEAKER),
        checked_text(line["text"], "text", MAX_TEXT),
    )


def read_conversation(path):
    """All lines of the file; DemoError lists every bad one with its number."""
    try:
        with open(path, "rb") as file:
            content = file.read().removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        raise DemoError(f"{path}: {error.strerror}") from None
    lines, problems = [], []
    for number, raw in enumerate(content.split(b"\n"), start=1):
        if not raw.strip():
            continue
        try:
            lines.append(parse_line(raw))
        except ValueError as error:
            problems.append(f"{path}, line {number}: {error}")
    if problems:
        more = len(problems) - 20
        tail = [f"... and {more} more bad lines"] if more > 0 else []
        raise DemoError("\n".join(problems[:20] + tail))
    if not lines:
        raise DemoError(f"{path}: no line in it")
    return lines


# ---- Stubs ---------------------------------------------------------------------------------------


def generate_stubs():
    """Python stubs of the protos, in var/stubs; made again when a proto has changed."""
    source, target = os.path.join(ROOT, "proto"), os.path.join(ROOT, "var", "stubs")
    protos = [
        os.path.relpath(os.path.join(folder, name), source)
        for folder, _, names in os.walk(source)
        for name in names
        if name.endswith(".proto")
    ]
    stamp = os.path.join(target, "stamp")
    newest = max(os.path.getmtime(os.path.join(source, proto)) for proto in protos)
    if not (os.path.exists(stamp) and os.path.getmtime(stamp) > newest):
        shutil.rmtree(target, ignore_errors=True)
        os.makedirs(target)
        plugin = shutil.which("grpc_python_plugin")
        if not (shutil.which("protoc") and plugin):
            raise DemoError("protoc and grpc_python_plugin are needed (protobuf-compiler-grpc)")
        done = subprocess.run(
            ["protoc", "-I", source, f"--python_out={target}", f"--grpc_python_out={target}"]
            + [f"--plugin=protoc-gen-grpc_python={plugin}"]
            + sorted(protos),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise DemoError(f"the stubs could not be generated:\n{done.stderr.strip()}")
        with open(stamp, "w", encoding="ascii"):
            pass
    sys.path.insert(0, target)


# ---- Calls ---------------------------------------------------------------------------------------


def describe_error(error):
    """A failed call in one line: code, reason, text, and the fields at fault."""
    from google.rpc import error_details_pb2, status_pb2

    words = [error.code().name]
    fields = []
    for key, value in error.trailing_metadata() or ():
        if key != "grpc-status-details-bin":
            continue
        status = status_pb2.Status()
        status.ParseFromString(value)
        for detail in status.details:
            info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
            if detail.Unpack(info):
                words.append(info.reason)
            elif detail.Unpack(bad):
                fields += [f"{f.field}: {f.description}" for f in bad.field_violations]
    line = f"{' '.join(words)}: {error.details()}"
    return line + "".join(f"\n  {field}" for field in fields)


class Services:
    """The stubs of all services, by the name of the call."""

    def __init__(self, addresses):
        import grpc
        from parley.chat.v1 import chat_service_pb2_grpc, user_service_pb2_grpc
        from parley.message.v1 import message_service_pb2_grpc
        from parley.scheduler.v1 import scheduler_service_pb2_grpc, worker_service_pb2_grpc

        self._error = grpc.RpcError
        # A proxy configured for the outside world has nothing to do with these addresses.
        options = [("grpc.enable_http_proxy", 0)]
        chat, message, scheduler = (grpc.insecure_channel(a, options=options) for a in addresses)
        self.users = user_service_pb2_grpc.UserServiceStub(chat)
        self.chats = chat_service_pb2_grpc.ChatServiceStub(chat)
        self.messages = message_service_pb2_grpc.MessageServiceStub(message)
        self.tasks = scheduler_service_pb2_grpc.SchedulerServiceStub(scheduler)
        self.workers = worker_service_pb2_grpc.WorkerServiceStub(scheduler)

    def call(self, method, request, absent=None):
        """The answer; None if the call's code is `absent`; DemoError for any other failure."""
        try:
            return method(request, timeout=30)
        except self._error as error:
            if error.code() == absent:
                return None
            name = type(request).__name__.removesuffix("Request")
            raise DemoError(f"{name} failed: {describe_error(error)}") from None


# ---- The demo ------------------------------------------------------------------------------------


def title(text):
    print(f"\n{text}", flush=True)


def short(path):
    """The path as the reader would type it: relative if it is below the current directory."""
    path = os.path.abspath(path)
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


def shorten(text, width=72):
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 3] + "..."


def expect(condition, text):
    if not condition:
        raise DemoError(text)


def find_or_create_users(services, speakers):
    import grpc
    from parley.chat.v1 import user_service_pb2

    title(f"Users: {len(speakers)}")
    users = {}
    for speaker in speakers:
        user = services.call(
            services.users.GetUser,
            user_service_pb2.GetUserRequest(login=speaker),
            absent=grpc.StatusCode.NOT_FOUND,
        )
        how = "found, from an earlier run"
        if user is None:
            how = "created"
            user = services.call(
                services.users.CreateUser,
                user_service_pb2.CreateUserRequest(
                    login=speaker, name=speaker, request_id=f"demo-{secrets.token_hex(8)}"
                ),
            )
        users[speaker] = user
        print(f"  user {user.id:<6} {shorten(speaker, 40):<24} {how}", flush=True)
    return users


def create_chat(services, speakers, users, name, run):
    from parley.chat.v1 import chat_pb2, chat_service_pb2

    chat = services.call(
        services.chats.CreateChat,
        chat_service_pb2.CreateChatRequest(
            creator_user_id=users[speakers[0]].id,
            title=f"{name} {datetime.datetime.now():%Y-%m-%d %H:%M:%S}"[:256],
            chat_type=chat_pb2.CHAT_TYPE_GROUP,
            request_id=f"demo-chat-{run}",
        ),
    )
    title(f'Chat {chat.id}: "{chat.title}"')
    print(f"  {shorten(speakers[0], 40)} created it and is its owner")
    for speaker in speakers[1:]:
        chat = services.call(
            services.chats.AddUserToChat,
            chat_service_pb2.AddUserToChatRequest(chat_id=chat.id, user_id=users[speaker].id),
        )
        print(f"  {shorten(speaker, 40)} joined: {chat.user_count} members", flush=True)
    return chat


def send_all(services, chat, users, lines, run):
    from parley.message.v1 import message_service_pb2

    title(f"Messages: {len(lines)}")
    sent = []
    began = time.monotonic()
    for number, (speaker, text) in enumerate(lines, start=1):
        message = services.call(
            services.messages.SendMessage,
            message_service_pb2.SendMessageRequest(
                chat_id=chat.id,
                user_id=users[speaker].id,
                text=text,
                request_id=f"demo-{run}-{number}",
            ),
        )
        expect(message.seq == number, f"message {number} came back with seq {message.seq}")
        sent.append(message)
        if len(lines) <= SHOWN:
            print(f"  {message.seq:>3}  {shorten(speaker, 20)}: {shorten(text)}")
        elif number % 1000 == 0:
            print(f"  {number} sent", flush=True)
    took = time.monotonic() - began
    print(f"  {len(lines)} messages one after the other in {took:.2f} s, each committed")

    again = services.call(
        services.messages.SendMessage,
        message_service_pb2.SendMessageRequest(
            chat_id=chat.id,
            user_id=users[lines[0][0]].id,
            text=lines[0][1],
            request_id=f"demo-{run}-1",
        ),
    )
    expect(again.id == sent[0].id, "a repeated request_id wrote a second message")
    print(f"  the first one sent again with its request_id: seq {again.seq} again, nothing written")
    return sent


def list_messages(services, chat, **fields):
    from parley.message.v1 import message_service_pb2

    return services.call(
        services.messages.ListMessages,
        message_service_pb2.ListMessagesRequest(chat_id=chat.id, **fields),
    )


def read_back(services, chat, sent, users):
    names = {user.id: speaker for speaker, user in users.items()}
    newest_first = sent[::-1]
    for offset in (0, PAGE):
        page = list_messages(services, chat, limit=PAGE, offset=offset)
        title(f"Read back, newest first: limit {PAGE}, offset {offset}")
        for message in page.messages:
            print(f"  {message.seq:>3}  {shorten(names[message.user_id], 20)}: {shorten(message.text)}")
        wanted = newest_first[offset : offset + PAGE]
        expect(
            [(m.id, m.seq, m.text) for m in page.messages] == [(m.id, m.seq, m.text) for m in wanted],
            f"the page at offset {offset} is not what was sent",
        )

    pages, everything, token = 0, [], ""
    while True:
        page = list_messages(services, chat, page_token=token)
        pages += 1
        everything += page.messages
        token = page.next_page_token
        if not token:
            break
    expect(
        [(m.id, m.text) for m in everything] == [(m.id, m.text) for m in newest_first],
        "the pages together are not what was sent",
    )
    print(f"\nAll {len(everything)} read by page_token in {pages} pages: as sent.", flush=True)


def lateness(received, task):
    """How long after its time the task was received, in milliseconds."""
    due = task.run_time.seconds + task.run_time.nanos / 1e9
    return (received - due) * 1000


def run_task(services, chat, run):
    from google.protobuf import duration_pb2
    from parley.scheduler.v1 import scheduler_service_pb2, task_pb2, worker_service_pb2

    queue = f"demo.{run}"
    title(f"Task: in {DELAY:g} seconds")
    received = []
    request = worker_service_pb2.LeaseTasksRequest(
        queues=[queue], wait_for=duration_pb2.Duration(seconds=20)
    )
    leasing = services.workers.LeaseTasks.future(request, timeout=30)
    leasing.add_done_callback(lambda _: received.append(time.time()))
    print(f"  a worker waits for queue {queue}")

    task = services.call(
        services.tasks.CreateTask,
        scheduler_service_pb2.CreateTaskRequest(
            queue=queue,
            name="remind",
            payload=json.dumps({"chat_id": chat.id}).encode(),
            delay=duration_pb2.Duration(seconds=int(DELAY)),
            request_id=f"demo-task-{run}",
        ),
    )
    due = task.run_time.ToDatetime().strftime("%H:%M:%S.%f")[:-3]
    print(f"  task {task.id} created, due at {due} UTC", flush=True)

    # result() may return before the callbacks have run; the callback's clock is the exact one.
    answer = services.call(lambda _, timeout: leasing.result(timeout=timeout), request)
    now = time.time()
    expect(len(answer.leases) == 1, f"the worker received {len(answer.leases)} tasks, not one")
    lease = answer.leases[0]
    expect(lease.task.id == task.id, f"the worker received task {lease.task.id}, not {task.id}")
    late = lateness(received[0] if received else now, lease.task)
    expect(late > -1, f"the task came {-late:.1f} ms before its time")
    print(f"  the worker received task {task.id}, {late:.1f} ms after its time")

    ended = services.call(
        services.workers.AckTask,
        worker_service_pb2.AckTaskRequest(task_id=task.id, lease_token=lease.lease_token),
    )
    expect(ended.state == task_pb2.TASK_STATE_SUCCEEDED, "the acknowledged task has not SUCCEEDED")
    print("  acknowledged: it will not be delivered again")
    return task


def print_grpcurl(addresses, chat, task):
    chat_address, message_address, scheduler_address = addresses
    program, own = "grpcurl", os.path.join(ROOT, "var", "tools", "bin", "grpcurl")
    if not shutil.which(program) and os.path.exists(own):
        program = shlex.quote(short(own))
    program += " -plaintext"
    payload = base64.b64encode(b"hello").decode()

    def call(address, method, **request):
        return f"{program} -d '{json.dumps(request)}' {address} {method}"

    title("Go on with grpcurl")
    for line in (
        f"{program} {chat_address} list",
        f"{program} {chat_address} describe parley.chat.v1.ChatService",
        f"{program} {message_address} describe parley.message.v1.SendMessageRequest",
        call(chat_address, "parley.chat.v1.ChatService/GetChat", chat_id=chat.id),
        call(
            message_address, "parley.message.v1.MessageService/ListMessages", chat_id=chat.id, limit=3
        ),
        call(
            message_address,
            "parley.message.v1.MessageService/SendMessage",
            chat_id=chat.id,
            user_id=chat.creator_user_id,
            text="Take some more tea.",
        ),
        call(scheduler_address, "parley.scheduler.v1.SchedulerService/GetTask", task_id=task.id),
        call(
            scheduler_address,
            "parley.scheduler.v1.SchedulerService/CreateTask",
            queue="try",
            name="say",
            payload=payload,
            delay="5s",
        ),
        call(
            scheduler_address,
            "parley.scheduler.v1.WorkerService/LeaseTasks",
            queues=["try"],
            wait_for="10s",
        ),
    ):
        print(f"  {line}")


def replay(path, addresses):
    lines = read_conversation(path)
    generate_stubs()
    services = Services(addresses)
    # In the order in which they first speak.
    speakers = list(dict.fromkeys(speaker for speaker, _ in lines))
    run = secrets.token_hex(4)
    # A file's name need not be UTF-8; a chat's title must be.
    name = os.path.splitext(os.path.basename(path))[0].encode("utf-8", "replace").decode()

    print(f"Replaying {short(path)}: {len(lines)} lines, {len(speakers)} speakers")
    users = find_or_create_users(services, speakers)
    chat = create_chat(services, speakers, users, name, run)
    sent = send_all(services, chat, users, lines, run)
    read_back(services, chat, sent, users)
    task = run_task(services, chat, run)
    print_grpcurl(addresses, chat, task)


def default_addresses():
    """Where up.sh has started the services; their default ports if it did not."""
    try:
        with open(os.path.join(ROOT, "var", "run", "addresses"), encoding="ascii") as file:
            addresses = file.read().split()
        if len(addresses) == 3:
            return addresses
    except OSError:
        pass
    return [f"127.0.0.1:{port}" for port in (50051, 50052, 50053)]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for service, default in zip(("chat", "message", "scheduler"), default_addresses()):
        parser.add_argument(
            f"--{service}", default=default, metavar="HOST:PORT", help="default: %(default)s"
        )
    parser.add_argument("file", nargs="?", default=DEFAULT_FILE, help="the conversation")
    parser.add_argument("--check", action="store_true", help="only check the conversation")
    arguments = parser.parse_args()
    try:
        if arguments.check:
            read_conversation(arguments.file)
            return 0
        replay(arguments.file, (arguments.chat, arguments.message, arguments.scheduler))
    except DemoError as error:
        sys.stdout.flush()
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
