"""The commands and settings of the Redis and the Kafka in the manifests, run with a real redis-server and a real Kafka."""

import json
import os
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager, suppress

import pytest

from deploy_check.build import DEPLOY, build
from deploy_check.pods import workloads
from deploy_check.settings import file_text
from test_live import PATIENCE, PAYMENT, ask, free_ports, running, until

ROOT = DEPLOY.parent


def part(overlay, name):
    bundle = build(DEPLOY / overlay)
    pod = next(w for w in workloads(bundle) if w.name == name)
    return bundle, pod, pod.containers[0]


@contextmanager
def process(command, folder, env=None):
    with (folder / "log").open("ab") as log:
        running = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **(env or {})}, start_new_session=True)
    try:
        yield running
    finally:
        # With what it started itself.
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()


def redis_cli(port, *arguments, password=None):
    env = {**os.environ, "REDISCLI_AUTH": password} if password else dict(os.environ)
    ran = subprocess.run(["redis-cli", "-p", str(port), *arguments], capture_output=True, text=True, env=env, check=False)
    return ran.stdout.strip()


def redis_command(overlay, folder, port):
    """The container's command, with its files in a folder and a port of ours."""
    bundle, pod, container = part(overlay, "fraud-redis")
    text = file_text(bundle, pod, container, "/etc/redis/redis.conf")
    (folder / "redis.conf").write_text(text.replace("dir /data", f"dir {folder}") + f"\nport {port}\n")
    for name in ("run", "secrets"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "secrets" / "password").write_text("open sesame".replace(" ", "-"))
    places = {"/etc/redis": str(folder), "/run/redis": str(folder / "run"), "/run/secrets/redis": str(folder / "secrets")}
    command = container["command"]
    for place, here in places.items():
        command = [part.replace(place, here) for part in command]
    return command


def test_redis_keeps_its_data_and_forgets_nothing_by_itself(tmp_path):
    (port,) = free_ports(1)
    command = redis_command("prod", tmp_path, port)
    with process(command, tmp_path) as redis:
        until(lambda: redis_cli(port, "ping") == "PONG", f"redis answers: {(tmp_path / 'log').read_text()}")
        assert redis_cli(port, "config", "get", "maxmemory-policy").split() == ["maxmemory-policy", "noeviction"]
        assert redis_cli(port, "set", "a", "b") == "OK"
        assert "unknown command" in redis_cli(port, "flushall")
        redis.send_signal(signal.SIGTERM)
        assert redis.wait(PATIENCE) == 0
    with process(command, tmp_path):
        until(lambda: redis_cli(port, "get", "a") == "b", "what was written is there after a restart")


def test_redis_asks_for_the_password(tmp_path):
    (port,) = free_ports(1)
    with process(redis_command("cloud", tmp_path, port), tmp_path):
        until(lambda: redis_cli(port, "ping", password="open-sesame") == "PONG", (tmp_path / "log").read_text())
        assert "NOAUTH" in redis_cli(port, "ping")
        assert (tmp_path / "run" / "redis.conf").stat().st_mode & 0o77 == 0


@pytest.fixture
def kafka_bin(tmp_path):
    """Scripts by the names that Kafka's image has, for the Kafka that the tests of the stream use."""
    subprocess.run([ROOT / "scripts" / "kafka.sh", "fetch"], check=True)
    folder = tmp_path / "bin"
    folder.mkdir()
    classes = {
        "kafka-storage": "kafka.tools.StorageTool",
        "kafka-server-start": "kafka.Kafka",
        "kafka-topics": "org.apache.kafka.tools.TopicCommand",
        "kafka-console-producer": "org.apache.kafka.tools.ConsoleProducer",
        "kafka-console-consumer": "org.apache.kafka.tools.consumer.ConsoleConsumer",
    }
    for name, java in classes.items():
        script = folder / f"{name}.sh"
        options = "$KAFKA_HEAP_OPTS $KAFKA_JVM_PERFORMANCE_OPTS -Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        script.write_text(f"#!/bin/bash\nexec java {options} -cp '{ROOT}/.cache/kafka/libs/*' {java} \"$@\"\n")
        script.chmod(0o755)
    return folder


class Broker:
    """The manifests' Kafka, with its files in a folder and ports of ours. It cannot reach what it tells its clients."""

    def __init__(self, folder, scripts):
        self.folder, self.scripts = folder, scripts
        self.port, internal, controller = free_ports(3)
        # Where the broker's own Java looks for this name nobody listens, as where a Pod cannot come back through its Service.
        self.address = f"localhost:{self.port}"
        bundle, pod, container = part("prod", "fraud-kafka")
        ports = {"PLAINTEXT://:9092": f"PLAINTEXT://127.0.0.1:{self.port}", "127.0.0.1:9094": f"127.0.0.1:{internal}"}
        ports |= {"127.0.0.1:9093": f"127.0.0.1:{controller}"}
        text = file_text(bundle, pod, container, "/etc/fraud-kafka/server.properties")
        text = text.replace("/var/lib/kafka/data", str(folder / "data"))
        for place, here in ports.items():
            assert place in text
            text = text.replace(place, here)
        (folder / "server.properties").write_text(text)
        (folder / "names").write_text("127.0.0.2 localhost\n")
        self.env = {e["name"]: e["value"] for e in container["env"]}
        self.env |= {"FRAUD_KAFKA_SERVICE_HOST": "localhost", "FRAUD_KAFKA_SERVICE_PORT": str(self.port)}
        self.env["KAFKA_JVM_PERFORMANCE_OPTS"] += f" -Djdk.net.hosts.file={folder / 'names'}"
        places = {"/opt/kafka/bin": str(scripts), "/etc/fraud-kafka": str(folder), "127.0.0.1/9094": f"127.0.0.1/{internal}"}
        self.command = container["command"]
        for place, here in {**places, **ports}.items():
            self.command = [part.replace(place, here) for part in self.command]

    @contextmanager
    def running(self):
        """The broker, until it was asked to end and did."""
        log = self.folder / "log"
        with process(self.command, self.folder, self.env) as kafka:
            yield
            assert kafka.poll() is None, log.read_text()[-2000:]
            kafka.send_signal(signal.SIGTERM)
            end = time.monotonic() + PATIENCE
            while kafka.poll() is None and time.monotonic() < end:
                time.sleep(0.1)
            assert kafka.returncode in (0, 143), log.read_text()[-2000:]

    def tool(self, name, *arguments, text=None):
        """What one of Kafka's tools prints."""
        command = [self.scripts / f"{name}.sh", "--bootstrap-server", self.address, *arguments]
        env = {**os.environ, "KAFKA_HEAP_OPTS": "-Xmx96m", "KAFKA_JVM_PERFORMANCE_OPTS": "-XX:TieredStopAtLevel=1"}
        return subprocess.run(command, env=env, input=text, capture_output=True, text=True, check=False).stdout

    def partitions(self):
        """How many partitions each topic has."""
        lines = [line.split() for line in self.tool("kafka-topics", "--describe").splitlines() if line.startswith("Topic: ")]
        return {words[1]: words[words.index("PartitionCount:") + 1] for words in lines}

    def until_topics(self):
        wanted = dict.fromkeys(("transactions-input", "fraud-predictions", "fraud-labels", "transactions-dead-letter"), "12")
        until(lambda: wanted.items() <= self.partitions().items(), f"topics are made: {(self.folder / 'log').read_text()[-2000:]}")


def test_kafka_makes_its_topics_on_every_volume(tmp_path, kafka_bin):
    broker = Broker(tmp_path, kafka_bin)
    with broker.running():
        broker.until_topics()
    # The container is made anew, the volume stays: so does what was written.
    with broker.running():
        broker.until_topics()
    # The Pod is made anew on another node.
    shutil.rmtree(tmp_path / "data")
    with broker.running():
        broker.until_topics()


def test_kafka_ends_transactions_without_reaching_its_own_service(tmp_path, kafka_bin):
    broker = Broker(tmp_path, kafka_bin)
    stream = tmp_path / "stream"
    stream.mkdir()
    (port,) = free_ports(1)
    changes = {
        "FRAUD__SERVER__BIND": f"127.0.0.1:{port}",
        "FRAUD__KAFKA__BROKERS": broker.address,
        "FRAUD__STATE__FOLDER": str(stream),
    }
    with broker.running():
        broker.until_topics()
        with running("dev", "fraud-stream", stream, changes) as (program, _):
            payment = {**PAYMENT, "tx_datetime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
            broker.tool("kafka-console-producer", "--topic", "transactions-input", text=json.dumps(payment) + "\n")
            # A reader that sees only what was committed sees nothing until the broker has written the transaction's end.
            read = ("--topic", "fraud-predictions", "--from-beginning", "--max-messages", "1", "--timeout-ms", str(1000 * PATIENCE))
            read += ("--isolation-level", "read_committed")
            told = broker.tool("kafka-console-consumer", *read)
            assert '"decision"' in told, (stream / "log").read_text()[-2000:]
            program.send_signal(signal.SIGTERM)
            assert program.wait(PATIENCE) == 0

    # README.md, "When Kafka's records are lost": it says so and ends, and goes on with its histories where it is told to.
    shutil.rmtree(tmp_path / "data")
    with broker.running():
        broker.until_topics()
        with running("dev", "fraud-stream", stream, changes) as (program, _):
            assert program.wait(PATIENCE) == 78, (stream / "log").read_text()[-2000:]
        knowingly = {"FRAUD__STATE__ON_LOST_STATE": "continue", "FRAUD__KAFKA__ON_LOST_INPUT": "continue"}
        with running("dev", "fraud-stream", stream, changes | knowingly) as (_, _):
            until(lambda: ask(port, "/health/ready")[0] == 200, f"it goes on: {(stream / 'log').read_text()[-2000:]}")
