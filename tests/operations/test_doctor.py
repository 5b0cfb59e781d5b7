"""``depin-verify doctor``: a sound set-up is fine, and each thing that is broken is named."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from depin_id.keyfile import write_key
from depin_id.keys import SoftwareSigner
from depin_id.network import NetworkCard, sign_card
from depin_id.networkdir import NetworkDir
from depin_id.reissue import CardRequest, reissue
from tests.bridge.certificates import authority, issue
from tests.brokers import Tls, free_port, mosquitto
from tests.verify.cli_site import Site
from verify import cardchange
from verify.aggregator import HEARTBEAT_MS, Aggregator, wall_clock
from verify.doctor import Diagnosis, Setup, doctor, machine
from verify.doctor import stores as store_checks
from verify.doctor.diagnosis import Broker
from verify.ingest.options import TlsOptions
from verify.operating import new_keys
from verify.setup import init
from verify.waiting_room import QUARANTINE_BYTES
from verify.workspace import Workspace


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    NetworkDir.create(folder / "net", "testnet")
    init(folder / "agg", folder / "net", policy_text='default_profile = "noise"\n')
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    """A sound network in ``net`` and ``agg``, to be broken."""
    shutil.copytree(made, tmp_path / "x")
    return tmp_path / "x"


@pytest.fixture
def setup(place: Path, tmp_path: Path) -> Setup:
    """A quiet machine: a local disk, no ports, nothing of the real one."""
    proc = tmp_path / "proc"
    (proc / "net").mkdir(parents=True)
    (proc / "self").mkdir()
    (proc / "self" / "mountinfo").write_text("21 1 8:1 / / rw,relatime - ext4 /dev/a rw\n")
    return Setup(Workspace(place / "agg"), min_free=0, synchronised=lambda: True, proc=proc)


def _codes(setup: Setup) -> set[str]:
    return {finding.code for finding in doctor(setup)}


def test_a_sound_set_up_has_no_findings(setup: Setup) -> None:
    assert doctor(setup) == []
    assert doctor(replace(setup, deep=True)) == []


def test_beside_a_running_aggregator(setup: Setup) -> None:
    with Aggregator(setup.root):
        assert _codes(setup) == {"lock.held"}
    assert doctor(setup) == []


# --- files --------------------------------------------------------------------------------------


def _edit(path: Path, change: Callable[[bytearray], None]) -> None:
    data = bytearray(path.read_bytes())
    change(data)
    path.chmod(0o600)
    path.write_bytes(data)


def _flip(at: int) -> Callable[[bytearray], None]:
    def change(data: bytearray) -> None:
        data[at] ^= 0xFF

    return change


def _other_letter(data: bytearray) -> None:
    data[-9] = ord("B") if data[-9] == ord("A") else ord("A")


def _journal_file(root: Path) -> Path:
    return root / "journal" / "journal-000001.db"


def _swap_keys(root: Path) -> None:
    path = root / "network" / "ack-1.key"
    path.unlink()
    write_key(path, SoftwareSigner.generate())


def _former(root: Path) -> None:
    request = CardRequest.from_json(json.dumps(new_keys(Workspace(root), ("log",))))
    reissue(root.parent / "net", request)
    cardchange.activate(root, (root.parent / "net" / "card.cbor").read_bytes())


def _older_journal(root: Path) -> None:
    kept = root.parent / "older"
    shutil.copytree(root / "journal", kept)
    (root / "snapshots").mkdir(exist_ok=True)
    _former(root)
    shutil.rmtree(root / "journal")
    kept.rename(root / "journal")
    for path in (root / "snapshots").iterdir():
        path.unlink()


def _behind(root: Path) -> None:
    """The journal goes on, and the publishing of it fails."""
    log = root / "public" / "log"
    shutil.copytree(log, root.parent / "kept")
    with Aggregator(root) as aggregator:
        aggregator.administer([])
        aggregator.tick(wall_clock())
    shutil.rmtree(log)
    (root.parent / "kept").rename(log)


BROKEN: dict[str, Callable[[Path], object]] = {
    "state.missing": lambda root: shutil.rmtree(root),
    "directory.mode": lambda root: (root / "keys").chmod(0o755),
    "keys.unreadable|state.permissions": lambda root: (root / "network" / "log-1.key").chmod(0o644),
    "key.file": lambda root: (root / "network" / "ack-1.key").write_bytes(b"torn"),
    "keys.card": _swap_keys,
    "keys.card|lost": lambda root: (root / "network" / "log-1.key").unlink(),
    "keys.pending": lambda root: new_keys(Workspace(root), ("ack",)),
    "keys.former": _former,
    "keys.root_here": lambda root: shutil.copy(root.parent / "net" / "root.key", root / "network"),
    "keys.master": lambda root: (root / "keys" / "master.key").unlink(),
    "state.permissions": lambda root: (root / "keys" / "master.key").chmod(0o640),
    "state.master_key": lambda root: _edit(root / "keys" / "master.key", _flip(3)),
    "card.published": lambda root: (root / "public" / "card.cbor").unlink(),
    "network.file": lambda root: (root / "network" / "card.cbor").unlink(),
    "state.corrupt": lambda root: _edit(_journal_file(root), _flip(20)),
    "state.missing|journal": lambda root: _journal_file(root).unlink(),
    "log.none": lambda root: shutil.rmtree(root / "public" / "log"),
    "log.behind": _behind,
    "log.signature": lambda root: _edit(root / "public" / "log" / "checkpoint", _other_letter),
    "state.rewrites_log": _older_journal,
    "policy.invalid": lambda root: (root / "policy.toml").write_text("nonsense = 1\n"),
    "policy.differs": lambda root: (root / "policy.toml").write_text("[time]\nmax_age_s = 5\n"),
}


@pytest.mark.parametrize("code", BROKEN)
def test_what_is_broken_is_named(setup: Setup, code: str) -> None:
    BROKEN[code](setup.root)
    found = doctor(setup)
    accepted = {part for part in code.split("|") if "." in part}
    assert accepted & {finding.code for finding in found}, found
    for finding in found:
        assert finding.what and finding.where


def test_what_is_not_ours(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    monkeypatch.setattr(os, "getuid", lambda: 4242)
    assert "directory.owner" in _codes(setup)


def test_a_journal_that_may_not_be_looked_into(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is there: to say that it is missing would send somebody to make another one."""
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    (found,) = doctor(setup)
    assert found.code == "state.permissions" and str(setup.workspace.journal) in found.what


def test_a_card_out_of_its_time(setup: Setup) -> None:
    card = NetworkDir(setup.workspace.operating).card

    def at(second: int) -> set[str]:
        return _codes(replace(setup, now_ms=lambda: second * 1000))

    assert "card.expired" in at(card.not_after + 1)
    assert "card.expires" in at(card.not_after - 86_400)
    assert "card.not_yet" in at(card.not_before - 100)


def test_a_card_that_was_copied_in(setup: Setup) -> None:
    held = NetworkDir(setup.root.parent / "net")
    fields = {name: getattr(held.card, name) for name in NetworkCard.__dataclass_fields__}
    data = sign_card(NetworkCard(**(fields | {"number": 2})), held.root)
    (setup.workspace.operating / "card.cbor").write_bytes(data)
    assert "card.journal" in _codes(setup)


# --- stores and machine -------------------------------------------------------------------------


def test_clocks(setup: Setup) -> None:
    now = wall_clock()
    assert "clock.behind_log" in _codes(replace(setup, now_ms=lambda: now - 60_000))
    late = replace(setup, now_ms=lambda: now + 5 * HEARTBEAT_MS)
    assert "journal.silent" not in _codes(late)
    with Aggregator(setup.root):
        assert "journal.silent" in _codes(late)
    assert "clock.not_synchronised" in _codes(replace(setup, synchronised=lambda: False))
    assert "clock.not_synchronised" not in _codes(replace(setup, synchronised=lambda: None))
    assert machine.clock_is_synchronised() in (True, False, None)


def test_what_waits(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    control = setup.workspace.control
    control.mkdir(mode=0o700)
    request = control / "1.request"
    request.write_bytes(b"{}")
    assert "control.waiting" not in _codes(setup)
    os.utime(request, (0, 0))
    assert "control.waiting" in _codes(setup)
    with (setup.workspace.quarantine / "big").open("wb") as file:
        file.truncate(QUARANTINE_BYTES)
    assert "quarantine.full" in _codes(setup)
    monkeypatch.setattr(store_checks, "SNAPSHOT_BEHIND", 0)
    shutil.rmtree(setup.workspace.snapshots)
    assert "snapshot.behind" in _codes(setup)
    monkeypatch.setattr(store_checks, "WAL_BYTES", -1)
    (setup.workspace.journal / "journal-000001.db-wal").write_bytes(b"")
    assert "journal.wal" in _codes(setup)


@pytest.mark.parametrize(
    ("kind", "options", "code"),
    [
        ("nfs4", "rw", "disk.network"),
        ("cifs", "rw", "disk.network"),
        ("tmpfs", "rw", "disk.memory"),
        ("ext4", "rw,barrier=0", "disk.barrier"),
        ("xfs", "rw,nobarrier", "disk.barrier"),
        ("ext4", "rw", ""),
    ],
)
def test_disks_that_forget(setup: Setup, kind: str, options: str, code: str) -> None:
    point = os.path.realpath(setup.root).replace(" ", "\\040")
    (setup.proc / "self" / "mountinfo").write_text(
        "21 1 8:1 / / rw - ext4 /dev/a rw\nnot a line\n"
        f"22 21 0:5 / {point} rw,relatime shared:1 - {kind} somewhere {options}\n"
        f"23 21 0:6 / {point}more rw - nfs4 elsewhere rw\n"
    )
    assert _codes(setup) == ({code} if code else set())


def test_no_room(setup: Setup) -> None:
    assert _codes(replace(setup, min_free=1 << 62)) == {"disk.full"}


def test_versions(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    held = {"cbor2": "5.9", "numpy": "2.1", "verify": "0.1"}

    def version(name: str) -> str:
        if name not in held:
            raise PackageNotFoundError(name)
        return held[name]

    lines = ["cbor2>=6.2", "numpy>=2; extra == 'verify'", "h3>=4; extra == 'verify'", "x; y"]
    monkeypatch.setattr(machine, "version", version)
    monkeypatch.setattr(machine, "requires", lambda _: lines)
    monkeypatch.setattr(machine, "SQLITE_AT_LEAST", (99,))
    monkeypatch.setattr(machine, "PYTHON_AT_LEAST", (99,))
    found = [f for f in doctor(setup) if f.code.startswith("versions.")]
    assert {f.code for f in found} == {
        "versions.python",
        "versions.sqlite",
        "versions.name",
        "versions.dependency",
    }
    told = [f.what for f in found if f.code == "versions.dependency"]
    assert [what.split()[0] for what in told] == ["cbor2", "h3"]


def test_ports_that_others_reach(setup: Setup, tmp_path: Path) -> None:
    """The kernel's own table, with real sockets of this process as the aggregator's."""
    real = replace(setup, proc=Path("/proc"))
    with Aggregator(setup.root), socket.socket() as open_port, socket.socket() as inside:
        open_port.bind(("0.0.0.0", 0))
        inside.bind(("127.0.0.1", 0))
        for listener in (open_port, inside):
            listener.listen()
        ends = threading.Thread(target=_hang_up, args=(open_port,), daemon=True)
        ends.start()
        found = [f for f in machine.check_ports(real) if f.code == "ports.open"]
        mine = [f for f in found if f.where.endswith(f"port {open_port.getsockname()[1]}")]
        assert mine and mine[0].severity == "error"
        assert not [f for f in found if f"port {inside.getsockname()[1]}" in f.where]
    ca, ca_key = authority(tmp_path / "ca")
    cert, key = issue(tmp_path / "server", ca, ca_key, "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with socket.socket() as plain:
        plain.bind(("127.0.0.1", 0))
        plain.listen()
        secured = threading.Thread(target=_shake_hands, args=(plain, context), daemon=True)
        secured.start()
        assert machine._speaks_tls("127.0.0.1", plain.getsockname()[1])
    assert machine._address("0100007F") == "127.0.0.1"
    assert machine._address("00000000000000000000000001000000") == "::1"


def _hang_up(listener: socket.socket) -> None:
    try:
        while True:
            listener.accept()[0].close()
    except OSError:
        return


def _shake_hands(listener: socket.socket, context: ssl.SSLContext) -> None:
    try:
        connection, _ = listener.accept()
        with context.wrap_socket(connection, server_side=True) as secured:
            secured.recv(1)
    except OSError:
        return


# --- the broker ---------------------------------------------------------------------------------


def _broker(setup: Setup, url: str, ca: Path | None = None, **who: str) -> list[Diagnosis]:
    tls = None if ca is None else TlsOptions(ca_file=ca)
    return doctor(replace(setup, broker=Broker(url, tls, **who)))


def test_a_broker_that_cannot_be_reached(setup: Setup) -> None:
    assert [f.code for f in _broker(setup, f"mqtt://127.0.0.1:{free_port()}")] == [
        "broker.unreachable"
    ]
    assert [f.code for f in _broker(setup, "http://127.0.0.1")] == ["transport.url"]


def test_a_plain_broker_elsewhere(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> object:
        raise ConnectionRefusedError("no")

    monkeypatch.setattr(socket, "create_connection", refused)
    codes = {f.code for f in _broker(setup, "mqtt://192.0.2.1:1883")}
    assert codes == {"broker.plain", "broker.unreachable"}


def test_brokers_that_answer(setup: Setup, tmp_path: Path) -> None:
    ca, ca_key = authority(tmp_path / "ca")
    other, _ = authority(tmp_path / "other")
    cert, key = issue(tmp_path / "server", ca, ca_key, "127.0.0.1")
    passwords, access = tmp_path / "passwords", tmp_path / "access"
    access.write_text("user agg\ntopic read depin/v1/testnet/up/+\n")
    _passwords(passwords, agg="secret")
    extra = [f"password_file {passwords}", f"acl_file {access}"]
    with (
        mosquitto(tmp_path) as plain,
        mosquitto(
            tmp_path, tls=Tls(ca.path, cert, key), allow_anonymous=False, extra=extra
        ) as secured,
        mosquitto(tmp_path, tls=Tls(ca.path, cert, key)) as anyone,
    ):
        assert _broker(setup, f"mqtt://127.0.0.1:{plain.port}") == []
        url = f"mqtts://127.0.0.1:{secured.port}"

        def codes(ca: Path, **who: str) -> list[str]:
            return [f.code for f in _broker(setup, url, ca, **who)]

        # The test's certificate is valid for a day.
        soon = "broker.certificate_expires"
        assert codes(ca.path, username="agg", password="secret") == [soon]
        assert codes(ca.path, username="agg", password="wrong") == [soon, "broker.refused"]
        assert codes(ca.path) == [soon, "broker.refused"]
        assert codes(other.path, username="agg", password="secret") == ["broker.certificate"]
        open_url = f"mqtts://127.0.0.1:{anyone.port}"
        named = {"username": "agg", "password": "x"}
        found = [f.code for f in _broker(setup, open_url, ca.path, **named)]
        assert found == [soon, "broker.anonymous"]
        not_tls = f"mqtts://127.0.0.1:{plain.port}"
        assert [f.code for f in _broker(setup, not_tls, ca.path)] == ["broker.tls"]


def test_a_broker_that_refuses_the_subscription(setup: Setup) -> None:
    """Not mosquitto, which grants every subscription and delivers nothing: a listener that says so.

    CONNACK and SUBACK as MQTT 5 has them (sections 3.2 and 3.9), the reason "not authorized".
    """

    def answer() -> None:
        try:
            while True:
                connection, _ = listener.accept()
                with connection:
                    if not connection.recv(4096):
                        continue
                    connection.sendall(bytes.fromhex("2003000000"))
                    asked = connection.recv(4096)
                    connection.sendall(b"\x90\x04" + asked[2:4] + bytes.fromhex("0087"))
                    connection.recv(4096)
        except OSError:
            return

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        threading.Thread(target=answer, daemon=True).start()
        found = _broker(setup, f"mqtt://127.0.0.1:{listener.getsockname()[1]}")
    assert [finding.code for finding in found] == ["broker.acl"]


def _passwords(path: Path, **who: str) -> None:
    path.touch(mode=0o600)
    program = shutil.which("mosquitto_passwd")
    assert program is not None
    for name, password in who.items():
        subprocess.run([program, "-b", str(path), name, password], check=True, capture_output=True)
    path.chmod(0o600)


# --- the command --------------------------------------------------------------------------------


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = Site(tmp_path, capsys)
    site.init()
    (tmp_path / "agg").chmod(0o700)
    told = site.run("doctor", site.root, "--json")
    assert all(item["code"] for item in told.json["findings"])
    assert told.json["ok"] is (told.code == 0)
    (site.root / "network" / "ack-1.key").unlink()
    broken = site.run("doctor", site.root)
    assert broken.code == 1 and "error: keys.card:" in broken.out
    nowhere = site.run("doctor", tmp_path / "nowhere", "--json")
    assert nowhere.code == 1 and nowhere.json["findings"][0]["code"] == "state.missing"
