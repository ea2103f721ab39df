"""The admin port, scraped by a real Prometheus; alerts, dashboards and the runbook."""

import json
import pathlib
import re
import signal
import socket
import subprocess
import unittest
import urllib.error
import urllib.parse
import urllib.request

import grpc

import brokers
import harness
import programs
import proxy
import worker

DEPLOY = pathlib.Path(__file__).resolve().parents[2] / "deploy"
RULES = DEPLOY / "alerts" / "parley.rules.yml"
NAME = re.compile(r"\b(?:parley|grpc_server|process)_[a-z_]+\b")
CODES = ("OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists",
         "PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange",
         "Unimplemented", "Internal", "Unavailable", "DataLoss", "Unauthenticated")
# Of Prometheus's own text format: a name, perhaps labels, a value.
SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z_]+="[^"]*",?)*)\})? ([^ ]+)')


def admin(service):
    """The address of a service's admin port."""
    return next(line["address"] for line in service.log() if line["message"] == "admin port")


def ask(address, path):
    """Status and text."""
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=programs.PATIENCE) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def samples(text):
    """(name, labels) -> value, of a scrape."""
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, labels, value = SAMPLE.fullmatch(line).groups()
            key = name, frozenset(re.findall(r'([a-z_]+)="([^"]*)"', labels or ""))
            assert key not in found, f"{key} twice"
            found[key] = float(value)
    return found


class Prometheus(brokers.Process):
    """Scrapes the services every half second, and evaluates our alerts."""

    def __init__(self, services):
        super().__init__("prometheus")
        targets = "".join(f"""
      - targets: ["{admin(service)}"]
        labels: {{service: "{service.name}"}}""" for service in services)
        (self.directory / "prometheus.yml").write_text(f"""
global: {{scrape_interval: 500ms, scrape_timeout: 400ms, evaluation_interval: 1s}}
rule_files: ["{RULES}"]
scrape_configs:
  - job_name: parley
    static_configs:{targets}
""")
        self.launch(["prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data",
                     f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn"])
        self.wait_for("Prometheus", lambda: brokers.is_open(self.port)
                      and ask(f"127.0.0.1:{self.port}", "/-/ready")[0] == 200)

    def get(self, path, **parameters):
        status, text = ask(f"127.0.0.1:{self.port}",
                           f"/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
        reply = json.loads(text)
        if status != 200 or reply["status"] != "success" or reply.get("warnings"):
            raise AssertionError(f"{parameters}: {text}")
        return reply["data"]

    def value(self, query):
        """Of a query that has one, or no, result."""
        result = self.get("query", query=query)["result"]
        assert len(result) <= 1, result
        return float(result[0]["value"][1]) if result else None

    def wait_until(self, query, value):
        harness.poll(f"{query} to be {value}", lambda: self.value(query) == value)


class ScrapeTest(harness.SystemTest, harness.People):
    runs = ("chatd", "messaged", "schedulerd")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.services = [getattr(cls, name) for name in cls.runs]
        cls.first = {service.name: ask(admin(service), "/metrics")[1] for service in cls.services}
        cls.prometheus = Prometheus(cls.services)
        cls.addClassCleanup(cls.prometheus.close)

    def test_every_method_and_code_is_there_from_the_start_at_zero(self):
        for service in self.services:
            values = samples(self.first[service.name])
            expected = set()
            for module, name in harness.CLIENTS[service.name].values():
                descriptor = harness.descriptor(module, name)
                for method in descriptor.methods:
                    kind = {"Work": "bidi_stream", "WatchMessages": "server_stream"}
                    labels = {("grpc_service", descriptor.full_name), ("grpc_method", method.name),
                              ("grpc_type", kind.get(method.name, "unary"))}
                    for counter in ("started", "msg_received", "msg_sent"):
                        expected.add((f"grpc_server_{counter}_total", frozenset(labels)))
                    for code in CODES:
                        expected.add(("grpc_server_handled_total",
                                      frozenset(labels | {("grpc_code", code)})))
                    expected.add(("grpc_server_handling_seconds_count", frozenset(labels)))
            seen = {key for key in values if key[0].startswith("grpc_server_")
                    and not key[0].endswith(("_bucket", "_sum"))}
            self.assertEqual(seen, expected)
            self.assertEqual({values[key] for key in seen}, {0})

    def test_prometheus_knows_what_was_called_and_how_it_ended(self):
        made = [self.new_user() for _ in range(3)]
        with self.assertRaises(grpc.RpcError):
            self.users.GetUser(user_id=10**9)
        with self.assertRaises(grpc.RpcError):
            self.users.GetUser(user_id=-1)
        chat = self.new_chat(made[0], made[1:])
        watch = self.messages.WatchMessages(chat_ids=[chat.id])
        next(watch)
        for _ in range(5):
            self.messages.SendMessage(chat_id=chat.id, user_id=made[0].id, text="x")
        self.prometheus.wait_until("sum(parley_watches)", 1)
        handled = "sum(grpc_server_handled_total{grpc_method='%s',grpc_code='%s'})"
        for method, code, count in (("CreateUser", "OK", 3), ("GetUser", "NotFound", 1),
                                    ("GetUser", "InvalidArgument", 1), ("GetUser", "OK", 0),
                                    ("SendMessage", "OK", 5), ("WatchMessages", "Canceled", 0)):
            self.prometheus.wait_until(handled % (method, code), count)
        self.prometheus.wait_until("sum(grpc_server_started_total{grpc_method='WatchMessages'})", 1)
        watch.cancel()
        self.prometheus.wait_until(handled % ("WatchMessages", "Canceled"), 1)
        self.prometheus.wait_until("sum(parley_watches)", 0)
        for counter, method, count in (("received", "CreateUser", 3), ("sent", "CreateUser", 3),
                                       ("received", "GetUser", 2), ("sent", "GetUser", 0),
                                       ("received", "WatchMessages", 1)):
            self.prometheus.wait_until(
                f"sum(grpc_server_msg_{counter}_total{{grpc_method='{method}'}})", count)
        self.assertGreaterEqual(self.prometheus.value(
            "sum(grpc_server_msg_sent_total{grpc_method='WatchMessages'})"), 1)
        self.prometheus.wait_until(
            "sum(grpc_server_handling_seconds_count{grpc_method='SendMessage'})", 5)
        lanes = "sum(parley_lane_batch_size_sum{lane=~'send-.'})"
        self.prometheus.wait_until(lanes, 5)
        self.prometheus.wait_until("sum(parley_lane_waiting)", 0)

    def test_prometheus_knows_of_tasks_and_of_those_who_work_on_them(self):
        laborer = worker.Worker(self.schedulerd, ["mail"])
        self.prometheus.wait_until("sum(parley_work_streams)", 1)
        laborer.call.cancel()
        self.prometheus.wait_until("sum(parley_work_streams)", 0)
        self.tasks.CreateTask(queue="q", name="n")
        self.assertEqual(len(self.workers.LeaseTasks(queues=["q"]).leases), 1)
        self.prometheus.wait_until("sum(parley_task_lateness_seconds_count)", 1)
        self.prometheus.wait_until("sum(parley_lane_batch_size_sum{lane='create'})", 1)
        self.tasks.CreateTask(queue="nobody", name="n")
        # The database is asked every quarter of a minute.
        harness.poll("the task to be overdue", lambda: self.prometheus.value(
            "max(parley_oldest_due_task_age_seconds)") > 0)

    def test_each_service_tells_of_its_threads_connections_and_tables(self):
        query = self.prometheus.get
        for service in self.services:
            only = f"{{service='{service.name}'}}"
            self.prometheus.wait_until(f"up{only}", 1)
            self.assertEqual(self.prometheus.value(f"parley_ready{only}"), 1)
            self.assertEqual(self.prometheus.value(
                f"parley_executor_threads{{service='{service.name}',executor='calls'}}"), 4)
            self.assertGreater(self.prometheus.value(f"parley_session_pool_size{only}"), 4)
            self.assertGreater(self.prometheus.value(f"process_resident_memory_bytes{only}"), 2**20)
            self.assertGreater(self.prometheus.value(f"process_open_fds{only}"), 3)
            self.assertGreaterEqual(self.prometheus.value(
                f"parley_database_oldest_xmin_age_transactions{only}"), 0)
            tables = {row["metric"]["table"]: float(row["value"][1])
                      for row in query("query", query=f"parley_table_dead_rows{only}")["result"]}
            self.assertGreaterEqual(len(tables), 3)
            # All of them exist.
            self.assertTrue(all(value >= 0 for value in tables.values()), tables)

    def exported(self):
        """The names that queries may use."""
        names = {"up"}
        for text in self.first.values():
            for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE):
                names |= ({name + suffix for suffix in ("_bucket", "_sum", "_count")}
                          if kind == "histogram" else {name})
        return names

    def test_dashboards_and_alerts_ask_for_what_is_exported(self):
        exported = self.exported()
        queries = []
        for path in sorted((DEPLOY / "dashboards").glob("*.json")):
            board = json.loads(path.read_text())
            self.assertEqual(board["uid"], path.stem)
            for panel in board["panels"]:
                queries += [target["expr"] for target in panel.get("targets", ())]
        self.assertGreater(len(queries), 20)
        groups = self.prometheus.get("rules")["groups"]
        alerts = [rule for group in groups for rule in group["rules"]]
        queries += [rule["query"] for rule in alerts]
        for query in queries:
            query = query.replace("$__rate_interval", "1m").replace("$instance", ".*")
            names = set(NAME.findall(query)) - {"grpc_service", "grpc_method", "grpc_code"}
            self.assertTrue(names or query.startswith("up{"), query)
            self.assertLessEqual(names, exported, query)
            self.prometheus.get("query", query=query)  # it is one
        self.assertEqual({rule["health"] for rule in alerts if rule["health"] != "unknown"} - {"ok"},
                         set(), [rule.get("lastError") for rule in alerts])

    def test_the_readme_names_what_is_exported_and_nothing_else(self):
        readme = (DEPLOY.parent / "README.md").read_text()
        exported = {re.sub("_(bucket|sum|count)$", "", name) for name in self.exported()}
        section = readme[readme.index("\n## Watch it"):readme.index("\n## Measure it")]
        self.assertEqual(set(NAME.findall(section)),
                         {name for name in exported if name != "up" and not name.startswith("process_")})

    def test_each_alert_has_a_section_in_the_runbook_and_each_section_an_alert(self):
        alerts = {rule["name"] for group in self.prometheus.get("rules")["groups"]
                  for rule in group["rules"]}
        runbook = (DEPLOY / "runbook.md").read_text()
        self.assertEqual(set(re.findall(r"^## (\w+)$", runbook, re.MULTILINE)), alerts)
        tested = set(re.findall(r"alertname: (\w+)", (DEPLOY / "alerts/parley_test.yml").read_text()))
        self.assertEqual(tested, alerts)


class AdminPortTest(harness.SystemTest):
    def test_readiness_follows_the_database_and_life_does_not(self):
        for name in ("chatd", "messaged", "schedulerd"):
            road = proxy.Proxy(self.database.url)
            self.addCleanup(road.cut)
            service = self.start(name, url=road.url)
            address = admin(service)
            self.assertEqual(ask(address, "/readyz"), (200, "ready\n"))
            road.cut()
            harness.poll(f"{name} to notice", lambda: ask(address, "/readyz")[0] == 503)
            self.assertEqual(ask(address, "/healthz"), (200, "alive\n"))
            values = samples(ask(address, "/metrics")[1])
            self.assertEqual(values["parley_ready", frozenset()], 0)
            harness.poll("connects to fail", lambda: samples(ask(address, "/metrics")[1])[
                "parley_session_pool_failed_connects_total", frozenset()] > 0)
            road.open()
            harness.poll(f"{name} to come back", lambda: ask(address, "/readyz")[0] == 200)

    def test_a_service_that_drains_is_alive_and_not_ready(self):
        service = self.start("chatd", "--drain-delay", "50s")
        address = admin(service)
        service.signal(signal.SIGTERM)
        harness.poll("it to drain", lambda: ask(address, "/readyz")[0] == 503)
        self.assertEqual(ask(address, "/healthz")[0], 200)
        service.kill()

    def test_a_slow_client_does_not_keep_a_service_from_ending(self):
        service = self.start("chatd")
        host, port = admin(service).split(":")
        with socket.create_connection((host, int(port))) as slow:
            slow.sendall(b"GET /metr")
            self.assertEqual(service.stop(), 0)

    def test_an_address_that_is_taken_is_an_error_and_none_is_no_port(self):
        taken = admin(self.start("chatd"))
        done = programs.run_binary("chatd", "--listen", "127.0.0.1:0", "--admin-listen", taken,
                                   url=self.database.url, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("cannot open the admin port", done.stderr)
        without = self.start("chatd", "--admin-listen", "none")
        self.assertNotIn("admin port", [line["message"] for line in without.log()])


class PromtoolTest(unittest.TestCase):
    def test_promtool_finds_nothing_to_complain_about(self):
        for command in (["check", "rules", RULES.name], ["test", "rules", "parley_test.yml"]):
            done = subprocess.run(["promtool", *command], cwd=RULES.parent, text=True,
                                  capture_output=True, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_promtool_finds_names_and_helps_of_metrics_good(self):
        database = harness.Database("promtool", True)
        self.addCleanup(database.drop)
        for name in ("chatd", "messaged", "schedulerd"):
            service = harness.Service(name, database.url)
            text = ask(admin(service), "/metrics")[1]
            self.assertIsNone(service.release())
            done = subprocess.run(["promtool", "check", "metrics"], input=text, text=True,
                                  capture_output=True, check=False)
            self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main()
