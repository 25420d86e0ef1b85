"""What deploy/ has: rules and a dashboard that Prometheus and Grafana can read, of metrics that there are."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from lazycrop.metrics import counts
from servers import PROMTOOL, ROOT

DEPLOY = ROOT / "deploy"
KNOWN = {
    *(f"lazycrop_queue_{name}" for name in counts.QUEUE),
    *(f"{metric._name}" for metric in vars(counts).values() if hasattr(metric, "_name")),
}


def expressions() -> list[str]:
    panels = json.loads((DEPLOY / "grafana.json").read_text("utf-8"))["panels"]
    return [target["expr"] for panel in panels for target in panel["targets"]]


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run([PROMTOOL.require(), *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_configuration_and_its_rules_are_what_prometheus_reads() -> None:
    promtool("check", "config", DEPLOY / "prometheus.yml")


def test_each_alert_fires_when_it_is_to_and_not_before() -> None:
    promtool("test", "rules", Path(__file__).with_name("alerts_test.yml"))


def test_each_expression_of_the_dashboard_is_one(tmp_path: Path) -> None:
    texts = [text.replace("$__rate_interval", "5m") for text in expressions()]
    rules = [{"record": f"panel:{number}", "expr": text} for number, text in enumerate(texts)]
    file = tmp_path / "panels.yml"
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}), "utf-8")  # JSON is YAML.
    promtool("check", "rules", file)


@pytest.mark.parametrize("text", [*expressions(), (DEPLOY / "alerts.yml").read_text("utf-8")])
def test_each_metric_that_is_asked_for_is_there(text: str) -> None:
    named = {re.sub("_(total|bucket|sum|count)$", "", name) for name in re.findall(r"\blazycrop_\w+", text)}
    assert named - KNOWN - {"lazycrop_requests_total"} == set()


def test_every_metric_is_on_the_dashboard_or_in_the_documentation() -> None:
    documented = (ROOT / "docs/metrics.rst").read_text("utf-8")
    assert [name for name in KNOWN if name not in documented] == []
