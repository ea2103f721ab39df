"""Starting: options, the address, the schema."""

import re
import shutil
import subprocess
import tempfile
import unittest

import psycopg2.extensions

import harness
import proxy

SERVICES = ("chatd", "messaged", "schedulerd")
SECRET = "config-secret-5d11"


class OptionsTest(unittest.TestCase):
    """Needs no database."""

    def run_service(self, name, *arguments, env=None, check=True):
        return harness.run_binary(
            name, *arguments, check=check, env=env,
            url=f"postgresql://user:{SECRET}@127.0.0.1:1/none?sslpassword={SECRET}")

    def print_config(self, name, *arguments, env=None):
        """option -> the rest of its line"""
        printed = self.run_service(name, *arguments, "--print-config", env=env).stdout
        return dict(line.split(maxsplit=1) for line in printed.splitlines())

    def test_help_and_print_config_name_the_same_options_and_no_password(self):
        for name in SERVICES:
            shown = self.run_service(name, "--help").stdout
            flags = set(re.findall(r"--([a-z][a-z-]+)", shown)) - {"help", "print-config"}
            config = self.print_config(name)
            self.assertEqual(set(config), flags)
            self.assertLessEqual({"listen", "admin-listen", "database-url", "workers", "queue", "default-deadline",
                                  "max-deadline", "drain-delay", "drain-grace", "keepalive",
                                  "log-level"}, flags)
            for option, rest in config.items():
                self.assertIn(rest.split()[0], shown, f"{option}: no variable in --help")
            for output in (shown, str(config)):
                self.assertNotIn(SECRET, output)
            flag = f"--database-url=host=db password={SECRET}"
            for arguments in ((flag, "--print-config"), (flag, "--help")):
                done = self.run_service(name, *arguments)
                self.assertNotIn(SECRET, done.stdout + done.stderr)

    def test_each_service_listens_on_its_own_loopback_port_by_default(self):
        for name, port in zip(SERVICES, (50051, 50052, 50053)):
            # An empty variable is as good as none of it.
            config = self.print_config(name, env={"PARLEY_ADMIN_LISTEN": ""})
            self.assertIn(f"127.0.0.1:{port}", config["listen"])
            self.assertIn(f"127.0.0.1:{port - 41000}", config["admin-listen"])

    def test_flags_win_over_the_environment(self):
        env = {"PARLEY_WORKERS": "7"}
        self.assertTrue(self.print_config("chatd", env=env)["workers"].endswith(" 7"))
        self.assertTrue(self.print_config("chatd", "--workers", "9", env=env)["workers"]
                        .endswith(" 9"))

    def test_a_mistake_ends_with_2_and_names_the_option(self):
        for flag, wrong in (("--no-such-option", "1"), ("--workers", "many"), ("--workers", "0"),
                            ("--workers", "-1"), ("--queue", "-1"), ("--queue", "1.5"),
                            ("--default-deadline", "10"), ("--default-deadline", "soon"),
                            ("--max-deadline", "-1s"), ("--drain-grace", "inf"),
                            ("--log-level", "loud"), ("--workers", None),
                            ("--listen", "nonsense"), ("--listen", "127.0.0.1:99999"),
                            ("--listen", "127.0.0.1:-1"), ("--listen", "127.0.0.1:"),
                            ("--admin-listen", "9051"), ("--admin-listen", "127.0.0.1:99999")):
            with self.subTest(flag=flag, wrong=wrong):
                done = self.run_service("messaged", flag, *([wrong] if wrong else []), check=False)
                self.assertEqual(done.returncode, 2, done.stdout + done.stderr)
                self.assertIn(flag, done.stderr)
                self.assertNotIn(SECRET, done.stdout + done.stderr)
        done = self.run_service("messaged", env={"PARLEY_WORKERS": "many"}, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertRegex(done.stderr, "PARLEY_WORKERS|--workers")

    def test_a_database_url_that_is_none_is_refused_without_repeating_it(self):
        for url in (f"nonsense {SECRET}", f"postgresql://u:{SECRET}@[h/x", f"password='{SECRET}"):
            for name in SERVICES:
                done = harness.run_binary(name, "--listen", "127.0.0.1:0", url=url, check=False)
                self.assertIn(done.returncode, (1, 2), url)
                self.assertNotIn(SECRET, done.stdout + done.stderr)
                self.assertRegex(done.stderr, "(?i)database")


class StartTest(harness.SystemTest):
    runs = ("chatd",)

    def refused(self, name, *flags, url=None):
        """What a service says that must not start."""
        done = harness.run_binary(name, *(flags or ("--listen", "127.0.0.1:0")),
                                  url=url or self.database.url, check=False)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertEqual(done.stdout, "")
        return done.stderr

    def test_a_taken_address_is_refused_with_a_plain_message(self):
        said = self.refused("messaged", "--listen", self.chatd.address)
        self.assertIn("cannot listen", said)
        self.assertIn(self.chatd.address, said)
        self.assertEqual(self.chatd.health_of(""), "SERVING")

    def test_an_address_that_is_not_this_hosts_is_refused(self):
        for address in ("host.invalid:0", "192.0.2.1:0"):
            self.assertIn(address, self.refused("messaged", "--listen", address,
                                                "--insecure-listen"))

    def test_both_forms_of_a_database_url_will_do(self):
        pairs = " ".join(f"{key}='{value}'" for key, value in
                         psycopg2.extensions.parse_dsn(self.database.url).items())
        service = self.start("chatd", url=pairs)
        self.assertEqual(service.users.CreateUser(login="by pairs").login, "by pairs")
        flag = self.start("chatd", "--database-url", self.database.url,
                          url="postgresql://127.0.0.1:1/none")
        self.assertEqual(flag.users.GetUser(login="by pairs").login, "by pairs")

    def test_a_service_waits_for_a_database_that_is_not_there_yet(self):
        road = proxy.Proxy(self.database.url)
        self.addCleanup(road.cut)
        road.cut()
        for name in SERVICES:
            said = self.refused(name, "--database-wait", "0s", "--listen", "127.0.0.1:0",
                                url=road.url)
            self.assertNotIn(road.password, said)
        patient = self.start("chatd", "--database-wait", "55s", url=road.url, wait=False)
        with self.assertRaises(subprocess.TimeoutExpired):
            patient.process.wait(timeout=1)
        self.assertNotIn('"listening"', "\n".join(patient.lines))
        road.open()
        patient.wait_until_serving()
        patient.users.ListUsers()

    def test_parley_migrate_waits_for_a_server_that_is_yet_to_start(self):
        road = proxy.Proxy(self.database.url)
        self.addCleanup(road.cut)
        road.cut()
        wait = [harness.binary("migrate"), "wait", "--timeout", "55s", "--for", "migrations"]
        patient = subprocess.Popen(wait, env=harness.environment(road.url), text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.addCleanup(patient.kill)
        with self.assertRaises(subprocess.TimeoutExpired):
            patient.wait(timeout=1)
        road.open()
        said, _ = patient.communicate(timeout=harness.PATIENCE)
        self.assertEqual((patient.returncode, said), (0, "nothing is pending\n"))


class SchemaTest(harness.SystemTest):
    migrated = False

    def refusals(self, database):
        for name in SERVICES:
            done = harness.run_binary(name, "--listen", "127.0.0.1:0", url=database.url,
                                      check=False)
            self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
            yield done.stderr

    def test_on_an_empty_database_the_services_name_the_command_that_mends_it(self):
        for said in self.refusals(self.database):
            self.assertIn("parley-migrate up", said)
        self.assertEqual(self.database.value(
            "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), 0)

    def other_migrations(self, *, leave_out=0, add=()):
        """A directory with the project's migrations, fewer or more."""
        directory = tempfile.mkdtemp(prefix="parley-migrations-")
        self.addCleanup(shutil.rmtree, directory)
        files = sorted((harness.ROOT / "db" / "migrations").glob("*.sql"))
        for path in files[:len(files) - leave_out]:
            shutil.copy(path, directory)
        for name in add:
            with open(f"{directory}/{name}", "w", encoding="utf-8") as target:
                target.write("-- migrate:up\nCREATE TABLE future (id bigint);\n"
                             "-- migrate:down\nDROP TABLE future;\n")
        return directory

    def test_on_an_older_schema_the_services_name_the_command_that_mends_it(self):
        database = harness.Database("behind", migrate=False)
        self.addCleanup(database.drop)
        database.migrate("up", "--dir", self.other_migrations(leave_out=1))
        for said in self.refusals(database):
            self.assertIn("parley-migrate up", said)
            self.assertIn("behind", said)
        database.migrate("up")
        self.start("chatd", url=database.url)

    def test_on_a_newer_schema_the_services_ask_for_a_newer_release(self):
        database = harness.Database("ahead", migrate=False)
        self.addCleanup(database.drop)
        database.migrate("up", "--dir",
                         self.other_migrations(add=["29991231235959_future.sql"]))
        for said in self.refusals(database):
            self.assertIn("release", said)
            self.assertIn("29991231235959", said)
            self.assertNotIn("parley-migrate up", said)

    def test_many_migrators_at_once_migrate_once(self):
        database = harness.Database("many", migrate=False)
        self.addCleanup(database.drop)
        harness.in_threads(8, lambda _: database.migrate("up"))
        self.start("chatd", url=database.url)


if __name__ == "__main__":
    unittest.main()
