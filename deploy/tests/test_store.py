"""The shared store as deploy/prod has it: begun once by its Pod, and never taken for empty after that. With a real redis-server
under the manifests' own settings, and the real fraud-api."""

import shutil
import signal
import subprocess
import time
from contextlib import contextmanager

from deploy_check.build import DEPLOY, build
from deploy_check.pods import workloads
from deploy_check.settings import environment
from test_live import BINARIES, PATIENCE, PAYMENT, ask, free_ports, running, until
from test_parts import process, redis_cli, redis_command

PROD = build(DEPLOY / "prod")


@contextmanager
def redis(folder, port):
    folder.mkdir(exist_ok=True)
    with process(redis_command("prod", folder, port), folder) as server:
        until(lambda: redis_cli(port, "ping") == "PONG", f"redis answers: {(folder / 'log').read_text()}")
        yield server


def begin(port, epoch=None):
    """What the Pod fraud-store-init does, and its exit code."""
    pod = next(w for w in workloads(PROD) if w.name == "fraud-store-init")
    container = pod.containers[0]
    env = environment(PROD, pod, container) | {"FRAUD__STORE__REDIS__URL": f"redis://127.0.0.1:{port}"}
    env |= {"FRAUD__STORE__REDIS__EPOCH": epoch} if epoch else {}
    command = [str(BINARIES / "fraud-api"), *container["args"]]
    ran = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False)
    return ran.returncode, ran.stdout + ran.stderr


def api(folder, port):
    """A replica of deploy/prod: itself, its public and its management port."""
    folder.mkdir()
    http, management = free_ports(2)
    changes = {
        "FRAUD__SERVER__BIND": f"127.0.0.1:{http}",
        "FRAUD__SERVER__MANAGEMENT": f"127.0.0.1:{management}",
        "FRAUD__STORE__REDIS__URL": f"redis://127.0.0.1:{port}",
    }
    return running("prod", "fraud-api", folder, changes), http, management


def payment(number):
    return {**PAYMENT, "transaction_id": number, "tx_datetime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def ready(port):
    return ask(port, "/health/ready")[0]


def test_the_store_is_begun_once_and_an_empty_one_is_refused(tmp_path):
    (port,) = free_ports(1)
    replica, http, management = api(tmp_path / "api", port)
    data = tmp_path / "redis"
    with redis(data, port) as server, replica as (process_of_api, _):
        log = tmp_path / "api" / "log"
        # Applied together: the replica is there before the store was begun. It waits, it does not end.
        until(lambda: ask(management, "/health/live")[0] == 200, f"alive: {log.read_text()}")
        assert ready(http) == 503
        assert ask(http, "/predict", payment(1))[0] == 503
        code, said = begin(port)
        assert code == 0, said
        until(lambda: ready(http) == 200, f"ready once the store is begun: {log.read_text()}")
        assert ask(http, "/predict", payment(2))[0] == 200

        # The Pod is made again (after a drain of its node): nothing changes.
        code, said = begin(port)
        assert code == 0, said
        answer = ask(http, "/predict", payment(2))
        assert answer[0] == 200 and '"duplicate":true' in answer[2].replace(" ", "")

        # A restart of Redis loses nothing.
        server.send_signal(signal.SIGTERM)
        server.wait(PATIENCE)
        with redis(data, port) as again:
            until(lambda: ready(http) == 200, f"ready again: {log.read_text()}")
            assert '"duplicate":true' in ask(http, "/predict", payment(2))[2].replace(" ", "")
            again.send_signal(signal.SIGTERM)
            again.wait(PATIENCE)

        # Its volume is gone: not a customer is taken for a new one.
        shutil.rmtree(data)
        with redis(data, port):
            until(lambda: ready(http) == 503, f"not ready on an empty Redis: {log.read_text()}")
            assert ask(http, "/predict", payment(3))[0] == 503
            assert ask(management, "/health/live")[0] == 200
            # Nor on one that somebody began under another name.
            code, said = begin(port, "other")
            assert code == 0, said
            assert begin(port)[0] != 0
            assert ask(http, "/predict", payment(4))[0] == 503
        assert process_of_api.poll() is None


def test_the_pod_that_begins_it_fails_while_nobody_answers():
    """So that it is started again until Redis is there."""
    (port,) = free_ports(1)
    assert begin(port)[0] != 0
