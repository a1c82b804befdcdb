"""The demo's monitoring, as far as it can be seen without a cluster: what Prometheus would scrape under which labels, and whom
Alertmanager would call."""

import json
import shutil
import subprocess

import pytest
import yaml

from deploy_check.build import DEPLOY, build
from deploy_check.pods import workloads
from deploy_check.settings import environment, file_text

DEMO = build(DEPLOY / "demo")
META = "__meta_kubernetes_pod_"


def config_of(name, path):
    pod = next(w for w in workloads(DEMO) if w.name == name)
    return pod, pod.containers[0], file_text(DEMO, pod, pod.containers[0], path)


def discovered():
    """Every container port of every Pod, as the discovery of Pods gives it."""
    for number, pod in enumerate(workloads(DEMO)):
        annotations = (pod.object["spec"].get("template") or {"metadata": {}})["metadata"].get("annotations", {})
        for container in pod.containers:
            for port in container.get("ports", []):
                labels = {
                    "__meta_kubernetes_namespace": pod.namespace,
                    META + "name": f"{pod.name}-0",
                    META + "ip": f"10.0.0.{number + 1}",
                    META + "container_name": container["name"],
                    META + "container_port_name": port["name"],
                    META + "container_port_number": str(port["containerPort"]),
                }
                for kind, values in (("label", pod.labels), ("annotation", annotations)):
                    for key, value in values.items():
                        labels[META + kind + "_" + key.replace(".", "_").replace("/", "_").replace("-", "_")] = value
                yield {"targets": [f"10.0.0.{number + 1}:{port['containerPort']}"], "labels": labels}


def prometheus_config(folder):
    """The configuration with what the discovery would find in its place, and the rules from where they are."""
    _, _, text = config_of("prometheus", "/etc/prometheus/prometheus.yml")
    config = yaml.safe_load(text)
    pods = list(discovered())
    parts = config["scrape_configs"] + config["alerting"]["alertmanagers"]
    for part in parts:
        role = part.pop("kubernetes_sd_configs")[0]["role"]
        part["static_configs"] = pods if role == "pod" else []
        if "authorization" in part:
            token = folder / "token"
            token.write_text("x")
            part["authorization"]["credentials_file"] = str(token)
    rules = DEMO.find("ConfigMap", next(o["metadata"]["name"] for o in DEMO.of("ConfigMap") if "prometheus-rules" in o["metadata"]["name"]))
    for name, content in rules["data"].items():
        (folder / name).write_text(content)
    assert config["rule_files"] == ["/etc/prometheus-rules/*.rules.yaml"]
    config["rule_files"] = [str(folder / "*.rules.yaml")]
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return path


def promtool(*arguments):
    ran = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_prometheus_reads_its_configuration_and_rules(tmp_path):
    assert "rules found" in promtool("check", "config", prometheus_config(tmp_path))


def test_prometheus_scrapes_each_pod_once_under_the_names_that_the_rules_read(tmp_path):
    config = prometheus_config(tmp_path)

    def scraped(job):
        # It waits for as long as it is told, whatever comes; on a busy machine nothing may have come yet.
        for patience in ("1s", "10s", "30s"):
            found = json.loads(promtool("check", "service-discovery", f"--timeout={patience}", config, job))
            if found:
                break
        # What was dropped has no labels; what is equal is one target.
        return {tuple(sorted(t["labels"].items())) for t in found if t.get("labels")}

    targets = [dict(labels) for labels in scraped("pods")]
    assert {(t["job"], t["__address__"].partition(":")[2], t["namespace"], t["pod"]) for t in targets} == {
        ("fraud-api", "8001", "fraud-demo", "fraud-api-0"),
        ("fraud-stream", "9464", "fraud-demo", "fraud-stream-0"),
    }
    assert len(targets) == 2
    (state,) = [dict(labels) for labels in scraped("kube-state-metrics")]
    assert state["__address__"].endswith(":8080")


def test_alertmanager_calls_whoever_listens_here(tmp_path):
    pod, container, text = config_of("alertmanager", "/etc/alertmanager/alertmanager.yml")
    source, made = tmp_path / "source.yml", tmp_path / "made.yml"
    source.write_text(text)
    script = container["command"][-1].replace("/etc/alertmanager/alertmanager.yml", str(source))
    script = script.replace("/alertmanager/alertmanager.yml", str(made)).partition("exec ")[0]
    subprocess.run([*container["command"][:-1], script], env=environment(DEMO, pod, container), check=True)
    config = yaml.safe_load(made.read_text())
    urls = [w["url"] for r in config["receivers"] for w in r.get("webhook_configs", [])]
    assert urls
    assert {url.partition("//")[2].partition("/")[0] for url in urls} == {"10.96.0.10:8080"}
    amtool = shutil.which("amtool") or "/usr/bin/amtool"
    ran = subprocess.run([amtool, "check-config", str(made)], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("mistake", ["job", "port"])
def test_a_mistake_in_the_scraping_is_found(tmp_path, monkeypatch, mistake):
    found = next(o for o in DEMO.of("ConfigMap") if "prometheus.yml" in o.get("data", {}))
    text = found["data"]["prometheus.yml"]
    wrong = {
        "job": text.replace("target_label: job", "target_label: app"),
        "port": text.replace("pod_annotation_prometheus_io_port]", "pod_container_port_number]"),
    }[mistake]
    assert wrong != text
    monkeypatch.setitem(found["data"], "prometheus.yml", wrong)
    with pytest.raises((AssertionError, KeyError)):
        test_prometheus_scrapes_each_pod_once_under_the_names_that_the_rules_read(tmp_path)
