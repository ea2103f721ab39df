"""What deploy/ says of the programs, asked of the programs: variables, values, ports, times.

Docker and Kubernetes are not here: of their files this checks what can be read off them, and .ci/run has
them read by hadolint and kubernetes-validate.
"""

import functools
import re
import subprocess
import unittest

import yaml

import harness
import programs

DEPLOY = harness.ROOT / "deploy"
SERVICES = ("chatd", "messaged", "schedulerd")
SETTING = re.compile(r"^#?(PARLEY_[A-Z_]+|TZ)=(.*)$", re.MULTILINE)


def load(*paths):
    """All documents of YAML files."""
    return [document for path in paths
            for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))]


def run(name, *arguments, environment=None):
    """Runs a program with this environment and nothing else."""
    return subprocess.run([programs.binary(name), *arguments], env=environment or {}, check=False,
                          capture_output=True, text=True, timeout=programs.PATIENCE)


@functools.lru_cache
def variables_of(name):
    """The environment variables that a program knows."""
    shown = run(name, "--help").stdout + (run(name, "up", "--help").stdout if name == "migrate" else "")
    return set(re.findall(r"PARLEY_[A-Z_]+|\bTZ\b", shown))


def config_of(name, environment):
    """What a service makes of an environment: option -> value. It must be one that it takes."""
    done = run(name, "--print-config", environment=environment)
    if done.returncode != 0:
        raise AssertionError(f"{name} does not take it: {done.stderr}")
    lines = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    return {line[0]: line[2] if len(line) > 2 else "" for line in lines}


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(s|m)?", str(text)).groups()
    return int(number) * (60 if unit == "m" else 1)


def port_of(address):
    return int(address.rpartition(":")[2])


class DeployTest(unittest.TestCase):
    def check(self, name, environment):
        """The variables are the program's, and it takes their values; returns what it makes of them."""
        self.assertLessEqual(set(environment), variables_of(name), name)
        return {} if name == "migrate" else config_of(name, environment)

    def check_drain(self, config, limit):
        """The watchdog of a drain comes before the patience of who has asked for it ends."""
        watchdog = seconds(config["drain-delay"]) + 2 * seconds(config["drain-grace"]) + 1
        self.assertGreater(limit, watchdog)


class SystemdTest(DeployTest):
    def settings(self, name):
        """All that a file names, what is commented out too; the last one counts."""
        return dict(SETTING.findall((DEPLOY / f"etc/{name}.env").read_text(encoding="utf-8")))

    def test_the_environment_files_name_what_there_is(self):
        for name in SERVICES:
            environment = self.settings("parley") | self.settings(name)
            config = self.check(name, environment)
            default = config_of(name, {})
            for option in ("listen", "admin-listen"):
                self.assertEqual(config[option], default[option], name)

    def test_a_drain_has_the_time_that_it_takes(self):
        unit = (DEPLOY / "systemd/parley-service.service.in").read_text(encoding="utf-8")
        limit = seconds(re.search(r"^TimeoutStopSec=(.*)$", unit, re.MULTILINE)[1])
        self.check_drain(config_of("chatd", self.settings("parley")), limit)

    def test_the_package_has_a_file_for_each_environment(self):
        listed = (DEPLOY / "debian/conffiles").read_text(encoding="utf-8").split()
        files = {f"/etc/parley/{path.name}" for path in (DEPLOY / "etc").iterdir()}
        self.assertEqual(set(listed), files)

    def test_the_package_has_the_version_of_the_project(self):
        cmake = (harness.ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
        version = re.search(r"^project\(parley VERSION (\S+)", cmake, re.MULTILINE)[1]
        changelog = (DEPLOY / "debian/changelog").read_text(encoding="utf-8")
        self.assertEqual(re.match(r"parley \((.*)-\d+\)", changelog)[1], version)


class ComposeTest(DeployTest):
    def test_each_service_is_what_its_program_takes(self):
        compose = load(harness.ROOT / "compose.yaml")[0]
        for name in (*SERVICES, "migrate"):
            service = compose["services"][name]
            self.assertEqual(service["command"][0], f"parley-{name}")
            config = self.check(name, service["environment"])
            for other in service["depends_on"]:
                self.assertIn(other, compose["services"])
            if name == "migrate":
                continue
            self.check_drain(config, seconds(service["stop_grace_period"]))
            ports = {port_of(config[option]) for option in ("listen", "admin-listen")}
            self.assertEqual(set(service["ports"]), {f"127.0.0.1:{p}:{p}" for p in ports})

    def test_the_image_has_the_programs_and_their_ports(self):
        dockerfile = (harness.ROOT / "Dockerfile").read_text(encoding="utf-8")
        exposed = set(map(int, re.search(r"^EXPOSE (.*)$", dockerfile, re.MULTILINE)[1].split()))
        self.assertEqual(exposed, {port_of(config_of(name, {})[option]) for name in SERVICES
                                   for option in ("listen", "admin-listen")})
        self.assertRegex(dockerfile, r"(?m)^USER 65532:65532$")


class KubernetesTest(DeployTest):
    @classmethod
    def setUpClass(cls):
        cls.files = {path.name for path in (DEPLOY / "k8s").iterdir()} - {"kustomization.yaml"}
        cls.objects = {(o["kind"], o["metadata"]["name"]): o
                       for o in load(*(DEPLOY / "k8s" / name for name in cls.files))}

    def pod(self, kind, name):
        return self.objects[kind, name]["spec"]["template"]

    def environment(self, container):
        """What the container is given, by whatever way; what it refers to exists."""
        given = {}
        for source in container["envFrom"]:
            if "configMapRef" in source:
                given |= self.objects["ConfigMap", source["configMapRef"]["name"]]["data"]
            else:
                given |= self.objects["Secret", source["secretRef"]["name"]]["stringData"]
        return given | {item["name"]: item["value"] for item in container.get("env", ())}

    def check_container(self, kind, name):
        pod = self.pod(kind, f"parley-{name}")
        container, = pod["spec"]["containers"]
        self.assertEqual(container["command"][0], f"parley-{name}")
        self.assertTrue(pod["spec"]["securityContext"]["runAsNonRoot"])
        self.assertTrue(container["securityContext"]["readOnlyRootFilesystem"])
        self.assertEqual(container["securityContext"]["capabilities"], {"drop": ["ALL"]})
        self.assertEqual(
            {part: set(sizes) for part, sizes in container["resources"].items()},
            {"requests": {"cpu", "memory"}, "limits": {"memory"}})
        return pod, container, self.check(name, self.environment(container))

    def test_each_container_is_what_its_program_takes(self):
        self.check_container("Job", "migrate")
        for name in SERVICES:
            pod, container, config = self.check_container("Deployment", name)
            self.check_drain(config, pod["spec"]["terminationGracePeriodSeconds"])
            ports = {port["name"]: port["containerPort"] for port in container["ports"]}
            self.assertEqual(ports, {"grpc": port_of(config["listen"]),
                                     "admin": port_of(config["admin-listen"])})
            self.assertEqual(pod["metadata"]["annotations"]["prometheus.io/port"],
                             str(ports["admin"]))
            for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"),
                                ("readinessProbe", "/readyz")):
                self.assertEqual(container[probe]["httpGet"], {"path": path, "port": "admin"})

    def test_the_files_that_the_services_read_are_mounted(self):
        for name in SERVICES:
            pod, container, _ = self.check_container("Deployment", name)
            volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
            there = set()
            for mount in container["volumeMounts"]:
                volume = volumes[mount["name"]]
                if "secret" in volume:
                    keys = self.objects["Secret", volume["secret"]["secretName"]]["stringData"]
                else:
                    keys = self.objects["ConfigMap", volume["configMap"]["name"]]["data"]
                there |= {f"{mount['mountPath']}/{key}" for key in keys}
            read = {value for value in self.environment(container).values()
                    if value.startswith("/")}
            self.assertEqual(read, there)

    def test_selectors_find_the_pods_and_ports_are_theirs(self):
        for name in SERVICES:
            full = f"parley-{name}"
            deployment, labels = self.objects["Deployment", full], self.pod(
                "Deployment", full)["metadata"]["labels"]
            service = self.objects["Service", full]["spec"]
            budget = self.objects["PodDisruptionBudget", full]["spec"]
            scaler = self.objects["HorizontalPodAutoscaler", full]["spec"]
            for selector in (deployment["spec"]["selector"]["matchLabels"], service["selector"],
                             budget["selector"]["matchLabels"]):
                self.assertEqual(selector, {"app.kubernetes.io/name": full})
                self.assertLessEqual(selector.items(), labels.items())
            self.assertEqual(service["clusterIP"], "None")
            self.assertEqual(service["ports"], [{
                "name": "grpc", "targetPort": "grpc",
                "port": port_of(config_of(name, {})["listen"])}])
            self.assertEqual(scaler["scaleTargetRef"]["name"], full)
            self.assertGreaterEqual(scaler["minReplicas"], 2)
            self.assertNotIn("replicas", deployment["spec"])

    def test_the_network_policy_is_about_the_pods_and_their_ports(self):
        policy = self.objects["NetworkPolicy", "parley"]["spec"]
        callers, prometheus = policy["ingress"]
        for rule, option in ((callers, "listen"), (prometheus, "admin-listen")):
            self.assertEqual({port["port"] for port in rule["ports"]},
                             {port_of(config_of(name, {})[option]) for name in SERVICES})
        for name in SERVICES:
            self.assertLessEqual(policy["podSelector"]["matchLabels"].items(), self.pod(
                "Deployment", f"parley-{name}")["metadata"]["labels"].items())

    def test_kustomize_has_all_but_the_job_and_the_examples(self):
        kustomization = load(DEPLOY / "k8s/kustomization.yaml")[0]
        self.assertEqual(set(kustomization["resources"]),
                         self.files - {"migrate.yaml", "secrets.example.yaml"})
        self.assertEqual({image["name"] for image in kustomization["images"]}, {"parley"})


if __name__ == "__main__":
    unittest.main()
