"""What is in ``deploy/``: run where it can be run here, read where it cannot."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
import yaml
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.brokers import Mosquitto
from tests.endtoend.world import until
from tests.project.tree import ROOT, project

DEPLOY = ROOT / "deploy"
BLOCK = re.compile(r"^<!-- run: (\w+) -->\n```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = dict(BLOCK.findall((DEPLOY / "README.md").read_text("utf-8")))
KID = "0123456789abcdef"


# --- the broker, really started -----------------------------------------------------------------


class Deployed(Mosquitto):
    """The broker of ``deploy/mosquitto``, on a port of its own and with files of the test."""

    def _configuration(self) -> str:
        text = (DEPLOY / "mosquitto" / "mosquitto.conf").read_text()
        assert text.count("listener 8883\n") == 1
        text = text.replace("listener 8883\n", f"listener {self.port} 127.0.0.1\n")
        secrets = self.folder / "secrets" / "mosquitto"
        text = text.replace("/mosquitto/secrets", str(secrets))
        text = text.replace("/mosquitto/config/acl", str(self.folder / "acl"))
        text = text.replace("/mosquitto/data/", f"{self.folder}/")
        # The harness sees by this line that it is up.
        return f"log_type information\n{'user root' if os.geteuid() == 0 else ''}\n{text}"


class Client:
    """A connection with a name and password, or without."""

    def __init__(self, broker: Mosquitto, ca: Path, name: str | None, password: str = "") -> None:
        self.got: list[tuple[str, bytes]] = []
        self.refused: list[str] = []
        self.ready, self.subscribed = threading.Event(), threading.Event()
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2,
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )
        self.client.tls_set(str(ca))
        if name is not None:
            self.client.username_pw_set(name, password)
        self.client.on_connect = self._connected
        self.client.on_subscribe = lambda *_: self.subscribed.set()
        self.client.on_message = lambda *about: self.got.append((about[2].topic, about[2].payload))
        self.client.connect(broker.host, broker.port)
        self.client.loop_start()
        assert self.ready.wait(30)

    def _connected(self, _: Any, __: Any, ___: Any, reason: Any, ____: Any) -> None:
        if reason.is_failure:
            self.refused.append(str(reason))
        self.ready.set()

    def read(self, topic: str) -> None:
        self.client.subscribe(topic, 1)
        assert self.subscribed.wait(30)

    def send(self, topic: str, payload: bytes) -> str:
        """Publish; the reason of the broker's answer."""
        answers: list[Any] = []
        self.client.on_publish = lambda *about: answers.append(about[3])
        self.client.publish(topic, payload, 1)
        until(lambda: answers, "the answer")
        return str(answers[0])

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_the_broker_lets_each_publisher_speak_for_itself_only(tmp_path: Path) -> None:
    folder = tmp_path / "broker"
    folder.mkdir()
    for name in ("certificates", "passwords"):
        script = f"set -euo pipefail\n{BLOCKS[name]}"
        done = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    password = (folder / "secrets" / "aggregator" / "password").read_text().strip()
    assert (folder / "secrets" / "aggregator" / "password").stat().st_mode & 0o077 == 0
    access = (DEPLOY / "mosquitto" / "acl").read_text()
    (folder / "acl").write_text(access.replace("NETWORK", "quiet-city"))
    for path in (folder / "acl", folder / "secrets" / "mosquitto" / "passwords"):
        path.chmod(0o600)
    up, down = f"depin/v1/quiet-city/up/{KID}", f"depin/v1/quiet-city/down/{KID}"
    clients: list[Client] = []

    def client(name: str | None, word: str = "") -> Client:
        clients.append(Client(broker, folder / "ca.pem", name, word))
        return clients[-1]

    with Deployed(folder) as broker:
        try:
            assert client(None).refused and client("aggregator", "wrong").refused
            aggregator = client("aggregator", password)
            device = client(KID, "a device's password")
            assert not aggregator.refused and not device.refused
            aggregator.read("depin/v1/quiet-city/up/+")
            device.read("depin/v1/quiet-city/down/+")
            assert device.send(up, b"mine") == "Success"
            assert "Not authorized" in device.send(up[:-1] + "0", b"another's")
            assert "Not authorized" in device.send(down, b"an acknowledgement of my own")
            assert aggregator.send(down, b"for it") == "Success"
            assert aggregator.send(down[:-1] + "0", b"for another") == "Success"
            until(lambda: aggregator.got and device.got, "what was sent")
            assert aggregator.got == [(up, b"mine")] and device.got == [(down, b"for it")]
            # What is to be kept is not taken at all: who comes later gets what is sent then.
            device.client.publish(up, b"kept", 1, retain=True)
            again, late = client(KID, "a device's password"), client("aggregator", password)
            late.read("depin/v1/quiet-city/up/+")
            assert again.send(up, b"later") == "Success"
            until(lambda: late.got, "what was sent then")
            assert late.got == [(up, b"later")]
        finally:
            for each in clients:
                each.close()
        plain = paho.Client(CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
        connected: list[Any] = []
        plain.on_connect = lambda *about: connected.append(about)
        plain.connect(broker.host, broker.port)
        plain.loop(2)
        assert not connected, "it answers without TLS"


# --- what is read -------------------------------------------------------------------------------


def test_the_compose_file() -> None:
    content = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    services = content["services"]
    assert set(services) == {"broker", "aggregator"}
    for name, service in services.items():
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not service["user"].startswith(("0", "root")), name
        assert not {"privileged", "network_mode", "pid", "cap_add", "devices"} & set(service), name
        for volume in service["volumes"]:
            source, _, rest = volume.partition(":")
            assert source in content["volumes"] or rest.endswith(":ro"), volume
            assert "docker.sock" not in volume
    # One door, and it speaks TLS.
    assert services["broker"]["ports"] == ["8883:8883"] and "ports" not in services["aggregator"]
    build = services["aggregator"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()
    for volume in services["broker"]["volumes"][:2]:
        assert (DEPLOY / volume.split(":")[0]).is_file()


def test_the_aggregator_takes_the_options_of_compose_and_unit() -> None:
    from typer.main import get_command

    from verify.cli import cli

    program: Any = get_command(cli)
    known = {name for option in program.commands["run"].params for name in option.opts}
    command = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["aggregator"]
    used = {word.split("=")[0] for word in command["command"] if word.startswith("--")}
    unit = (DEPLOY / "systemd" / "depin-verify.service").read_text()
    used |= set(re.findall(r" (--[a-z-]+)", unit))
    assert used <= known, used - known
    unit = (DEPLOY / "systemd" / "depin-doctor.service").read_text()
    used = set(re.findall(r" (--[a-z-]+)", unit))
    assert used <= {n for option in program.commands["doctor"].params for n in option.opts}


def test_the_image() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    steps = [line.split(None, 1) for line in lines if line and not line.startswith("#")]
    last = max(at for at, step in enumerate(steps) if step[0] == "FROM")
    final = steps[last:]
    users = [step[1] for step in final if step[0] == "USER"]
    assert users == ["10001:10001"]
    begin = [step[0] for step in final]
    assert begin.index("USER") > max(at for at, name in enumerate(begin) if name == "RUN")
    assert "pip install" not in " ".join(step[1] for step in final)
    assert {step[1].split()[0] for step in steps if step[0] == "FROM"} == {
        "python:3.12-slim-bookworm"
    }
    assert ["ENTRYPOINT", '["depin-verify"]'] in steps
    # Everything that is copied is there, and is let through to the build.
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    copied = [
        name
        for step in steps
        if step[0] == "COPY" and "--from" not in step[1]
        for name in step[1].split()[:-1]
    ]
    for name in copied:
        assert (ROOT / name).exists() and f"!{name.removeprefix('./')}" in ignored, name
    assert project()["project"]["readme"] in copied
    assert "**/*.key" in ignored


UNITS = sorted(path.name for path in (DEPLOY / "systemd").iterdir())


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("unit", UNITS)
def test_systemd_takes_the_unit(unit: str) -> None:
    command = ["systemd-analyze", "verify", "--man=no", str(DEPLOY / "systemd" / unit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    said = [line for line in (done.stdout + done.stderr).splitlines() if unit in line]
    assert not said, said


def test_the_unit_gives_up_what_it_does_not_need() -> None:
    unit = (DEPLOY / "systemd" / "depin-verify.service").read_text()
    for line in (
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "ProtectHome=yes",
        "PrivateDevices=yes",
        "CapabilityBoundingSet=",
        "UMask=0077",
        "StateDirectoryMode=0700",
        "ExecReload=/bin/kill -HUP $MAINPID",
    ):
        assert f"\n{line}\n" in unit, line
