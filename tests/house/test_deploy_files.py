"""What deploy/ hands out is what its own programs read, and says the same as the settings and the commands do."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from lazycrop.cli.program import commands
from lazycrop.settings import from_ini, from_mapping, make_config
from servers import COMPOSE, HADOLINT, ROOT, SYSTEMD, Program

DEPLOY = ROOT / "deploy"


def run(program: Program, *arguments: str | Path) -> str:
    done = subprocess.run([program.require(), *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def is_a_command(words: list[str]) -> None:
    """``lazycrop serve --port 8080`` and so on: there is such a command, and it has these options."""
    assert words[0].endswith("lazycrop")
    commands.commands[words[1]].make_parser(commands.make_context("lazycrop", [words[1]])).parse_args(words[2:])


def test_the_dockerfile_is_what_hadolint_wants() -> None:
    run(HADOLINT, DEPLOY / "Dockerfile")


def test_the_image_is_made_of_all_that_setup_reads_and_of_extras_that_there_are() -> None:
    kept = re.findall(r"^!(.+)$", (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8"), re.MULTILINE)
    assert all((ROOT / name).exists() for name in kept)
    assert {"setup.py", "pyproject.toml", "README.rst", "LICENSE", "lazycrop", "adapters"} <= set(kept)
    [extras] = re.findall(r"'\.\[([\w,]+)\]'", (DEPLOY / "Dockerfile").read_text("utf-8"))
    assert all(f'"{extra}": ' in (ROOT / "setup.py").read_text("utf-8") for extra in extras.split(","))
    [command] = re.findall(r"^CMD (\[.+\])$", (DEPLOY / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    is_a_command(json.loads(command))


def test_the_compose_file_is_what_compose_reads_and_its_settings_are_right(tmp_path: Path) -> None:
    read = yaml.safe_load(run(COMPOSE, "--file", DEPLOY / "compose.yaml", "config"))
    services = read["services"]
    for name in ("web", "worker"):
        environment = {key: value or "" for key, value in services[name]["environment"].items()}
        config = make_config(from_mapping(environment, "LAZYCROP_"))
        assert config.queue.broker == "redis://valkey:6379/0" and config.cache.memcached == ("memcached:11211",)
        assert {"valkey", "memcached"} <= set(services)
    is_a_command(services["worker"]["command"])


def test_the_kubernetes_objects_belong_together(tmp_path: Path) -> None:
    objects = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text("utf-8")))
    of_kind: dict[str, list[dict[str, Any]]] = {}
    for one in objects:
        of_kind.setdefault(one["kind"], []).append(one)
    [settings], [service] = of_kind["ConfigMap"], of_kind["Service"]
    ini = tmp_path / "lazycrop.ini"
    ini.write_text(settings["data"]["lazycrop.ini"], "utf-8")
    assert make_config(from_ini(ini)).queue.broker == "redis://redis:6379/0"
    for deployment in of_kind["Deployment"]:
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert deployment["spec"]["selector"]["matchLabels"] == labels
        pod = deployment["spec"]["template"]["spec"]
        [container] = pod["containers"]
        is_a_command(container["args"])
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    web = of_kind["Deployment"][0]["spec"]["template"]
    assert service["spec"]["selector"] == web["metadata"]["labels"]
    assert service["spec"]["ports"][0]["targetPort"] in [port["name"] for port in web["spec"]["containers"][0]["ports"]]


@pytest.mark.parametrize("name", ["lazycrop.service", "lazycrop-worker.service"])
def test_the_units_are_what_systemd_reads(name: str, tmp_path: Path) -> None:
    text = (DEPLOY / name).read_text("utf-8")
    [command] = re.findall(r"^ExecStart=(.+)$", text, re.MULTILINE)
    is_a_command(shlex.split(command))
    # Neither the program nor its user is on this machine.
    unit = tmp_path / name
    unit.write_text(re.sub("^(User|Group)=.*$", "", text.replace(command, "/bin/true"), flags=re.MULTILINE), "utf-8")
    assert str(unit) not in run(SYSTEMD, "verify", "--man=no", unit)


def test_the_ini_file_is_one() -> None:
    config = make_config(from_ini(DEPLOY / "lazycrop.ini"))
    assert os.path.basename(str(config.store.store)) == config.prefix.strip("/") == "img"
