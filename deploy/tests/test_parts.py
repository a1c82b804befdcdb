"""The commands and settings of the Redis and the Kafka in the manifests, run with a real redis-server and a real Kafka."""

import os
import signal
import subprocess
import time
from contextlib import contextmanager

import pytest

from deploy_check.build import DEPLOY, build
from deploy_check.pods import workloads
from deploy_check.settings import file_text
from test_live import PATIENCE, free_ports, until

ROOT = DEPLOY.parent


def part(overlay, name):
    bundle = build(DEPLOY / overlay)
    pod = next(w for w in workloads(bundle) if w.name == name)
    return bundle, pod, pod.containers[0]


@contextmanager
def process(command, folder, env=None):
    with (folder / "log").open("ab") as log:
        running = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **(env or {})})
    try:
        yield running
    finally:
        running.kill()
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
    classes = {"kafka-storage": "kafka.tools.StorageTool", "kafka-server-start": "kafka.Kafka", "kafka-topics": "org.apache.kafka.tools.TopicCommand"}
    for name, java in classes.items():
        script = folder / f"{name}.sh"
        options = "$KAFKA_HEAP_OPTS $KAFKA_JVM_PERFORMANCE_OPTS -Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        script.write_text(f"#!/bin/bash\nexec java {options} -cp '{ROOT}/.cache/kafka/libs/*' {java} \"$@\"\n")
        script.chmod(0o755)
    return folder


def test_kafka_starts_twice_and_gets_its_topics(tmp_path, kafka_bin):
    port, controller = free_ports(2)
    bundle, pod, container = part("prod", "fraud-kafka")
    text = file_text(bundle, pod, container, "/etc/kafka/server.properties")
    text = text.replace("/var/lib/kafka/data", str(tmp_path / "data"))
    text = text.replace("PLAINTEXT://:9092", f"PLAINTEXT://127.0.0.1:{port}").replace("127.0.0.1:9093", f"127.0.0.1:{controller}")
    (tmp_path / "server.properties").write_text(text)
    env = {e["name"]: e["value"] for e in container["env"]}
    env |= {"FRAUD_KAFKA_SERVICE_HOST": "127.0.0.1", "FRAUD_KAFKA_SERVICE_PORT": str(port)}

    def here(command):
        return [part.replace("/opt/kafka/bin", str(kafka_bin)).replace("/etc/kafka", str(tmp_path)) for part in command]

    _, _, topics = part("prod", "fraud-kafka-topics")
    own = {e["name"]: e["value"] for e in topics["env"]}
    for _ in range(2):
        with process(here(container["command"]), tmp_path, env) as kafka:
            log = tmp_path / "log"

            def made():
                ran = subprocess.run(here(topics["command"]), env={**os.environ, **env, **own}, capture_output=True, check=False)
                assert kafka.poll() is None, log.read_text()[-2000:]
                return ran.returncode == 0

            # The Pod is started again until the broker answers.
            until(made, "topics are made")
            list_them = [kafka_bin / "kafka-topics.sh", "--bootstrap-server", f"127.0.0.1:{port}", "--describe"]
            told = subprocess.run(list_them, env={**os.environ, **own}, capture_output=True, text=True, check=True).stdout
            made_topics = {line.split()[1]: line for line in told.splitlines() if line.startswith("Topic: ")}
            for name in ("transactions-input", "fraud-predictions", "fraud-labels", "transactions-dead-letter"):
                assert "PartitionCount: 12" in made_topics[name], told
            kafka.send_signal(signal.SIGTERM)
            end = time.monotonic() + PATIENCE
            while kafka.poll() is None and time.monotonic() < end:
                time.sleep(0.1)
            assert kafka.returncode in (0, 143), log.read_text()[-2000:]

