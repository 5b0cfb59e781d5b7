"""The machine: disk, clock, versions, the lock, and ports that are open to others."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import ipaddress
import os
import re
import socket
import sqlite3
import ssl
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from verify.doctor.diagnosis import Diagnosis, Setup

LOCK_FILE = "journal.lock"
SQLITE_AT_LEAST = (3, 37, 0)
PYTHON_AT_LEAST = (3, 11)
MQTT_PORT = 1883
_TIME_ERROR = 5
_REMOTE = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "fuse.sshfs", "virtiofs"}
_FORGETS = {"tmpfs", "ramfs"}
_LISTEN = "0A"
_HANDSHAKE_S = 2.0


def clock_is_synchronised() -> bool | None:
    """What the kernel says of its clock; None where it does not say."""
    try:
        # With modes = 0 nothing is set; the answer is the state of the clock.
        state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.create_string_buffer(1024))
    except (OSError, AttributeError):
        return None
    return None if state < 0 else state != _TIME_ERROR


def holder(setup: Setup) -> int | None:
    """The process that has the journal open for writing, as far as it can be known; else None."""
    try:
        handle = os.open(setup.workspace.journal / LOCK_FILE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        text = os.pread(handle, 20, 0).decode("ascii", "replace").strip()
        return int(text) if text.isdecimal() else 0
    finally:
        os.close(handle)
    return None


def check_lock(setup: Setup) -> Iterator[Diagnosis]:
    """Who holds the directory."""
    pid = holder(setup)
    if pid is not None:
        yield Diagnosis("lock.held", "note", f"process {pid} runs it", str(setup.root))


def check_clock(setup: Setup) -> Iterator[Diagnosis]:
    """Whether the clock is kept by somebody."""
    if setup.synchronised() is False:
        yield Diagnosis(
            "clock.not_synchronised",
            "warning",
            "the system does not keep its clock in step with others",
            "this machine",
            "run a time service: receipt times are in the log for ever",
        )


# --- disk ---------------------------------------------------------------------------------------


def check_disk(setup: Setup) -> Iterator[Diagnosis]:
    """Room, and whether what is written stays written."""
    about = os.statvfs(setup.root)
    free = about.f_bavail * about.f_frsize
    if free < setup.min_free:
        yield Diagnosis(
            "disk.full",
            "error",
            f"{free >> 20} MiB are free",
            str(setup.root),
            "make room: archive sealed journal files, move segments; runbooks, disk full",
        )
    if about.f_files and about.f_favail < about.f_files // 50:
        what = f"{about.f_favail} of {about.f_files} files are left"
        yield Diagnosis(
            "disk.files", "error", what, str(setup.root), "remove small files elsewhere"
        )
    if about.f_flag & os.ST_RDONLY:
        hint = "find out why (often a failing disk), then mount it writable"
        yield Diagnosis("disk.read_only", "error", "it is mounted read-only", str(setup.root), hint)
    kind, options = _mount(setup)
    if kind in _REMOTE:
        yield Diagnosis(
            "disk.network",
            "error",
            f"the file system is {kind}: locks and durable writes cannot be relied on",
            str(setup.root),
            "put the directory on a local disk; copy backups to the network instead",
        )
    if kind in _FORGETS:
        hint = "put the directory on a disk"
        what = f"the file system is {kind}: it is gone when the machine stops"
        yield Diagnosis("disk.memory", "error", what, str(setup.root), hint)
    if {"nobarrier", "barrier=0"} & options:
        what = "it is mounted without write barriers: a power cut may lose what was acknowledged"
        hint = "mount it with barriers"
        yield Diagnosis("disk.barrier", "error", what, str(setup.root), hint)


def _mount(setup: Setup) -> tuple[str, set[str]]:
    """Type and options of the file system that the directory lies on."""
    try:
        lines = (setup.proc / "self" / "mountinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return "", set()
    path, best = os.path.realpath(setup.root), ("", "", set[str]())
    for line in lines:
        left, _, right = line.partition(" - ")
        fields, more = left.split(), right.split()
        if len(fields) < 6 or len(more) < 3:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), fields[4])
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best[0]):
            best = (point, more[0], {*fields[5].split(","), *more[2].split(",")})
    return best[1], best[2]


# --- versions -----------------------------------------------------------------------------------


def check_versions(_: Setup) -> Iterator[Diagnosis]:
    """Python, SQLite and what is installed."""
    if sys.version_info < PYTHON_AT_LEAST:
        what = f"Python {sys.version.split()[0]}"
        yield Diagnosis(
            "versions.python", "error", what, sys.executable, "use Python 3.11 or later"
        )
    if sqlite3.sqlite_version_info < SQLITE_AT_LEAST:
        what = f"SQLite {sqlite3.sqlite_version}"
        hint = "use a Python that is built with SQLite 3.37 or later"
        yield Diagnosis("versions.sqlite", "warning", what, sys.executable, hint)
    with contextlib.suppress(PackageNotFoundError):
        what = f"the other distribution 'verify' {version('verify')} has the same import name"
        yield Diagnosis("versions.name", "error", what, "this environment", "pip uninstall verify")
    yield from _requirements()


def _requirements() -> Iterator[Diagnosis]:
    try:
        lines = requires("depin-id") or []
    except PackageNotFoundError:
        return  # run from the source tree
    for line in lines:
        found = re.fullmatch(
            r"([A-Za-z0-9._-]+)\s*>=([0-9.]+)(?:\s*;\s*extra == ['\"]verify['\"])?", line
        )
        if found is None:
            continue
        try:
            held = version(found[1])
        except PackageNotFoundError:
            held = ""
        if not held or _number(held) < _number(found[2]):
            what = f"{found[1]} {held or 'is missing'}, {found[2]} or later is needed"
            hint = 'pip install "depin-id[verify]"'
            yield Diagnosis("versions.dependency", "error", what, "this environment", hint)


def _number(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"[0-9]+", text)[:3])


# --- ports --------------------------------------------------------------------------------------


def check_ports(setup: Setup) -> Iterator[Diagnosis]:
    """Ports of the aggregator, and plain MQTT, that others can reach without TLS."""
    pid = holder(setup)
    own = _sockets_of(setup, pid) if pid else set()
    for address, port, inode in _listening(setup):
        if ipaddress.ip_address(address).is_loopback or not (inode in own or port == MQTT_PORT):
            continue
        if not _speaks_tls(address, port):
            yield Diagnosis(
                "ports.open",
                "error" if inode in own else "warning",
                "others can reach this port, and it does not speak TLS",
                f"{address} port {port}",
                "bind it to the loopback, or give it a certificate",
            )


def _sockets_of(setup: Setup, pid: int) -> set[str]:
    found = set()
    with contextlib.suppress(OSError):
        for path in (setup.proc / str(pid) / "fd").iterdir():
            with contextlib.suppress(OSError):
                link = os.readlink(path)
                if link.startswith("socket:["):
                    found.add(link[8:-1])
    return found


def _listening(setup: Setup) -> Iterator[tuple[str, int, str]]:
    for name in ("tcp", "tcp6"):
        try:
            lines = (setup.proc / "net" / name).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if len(fields) > 9 and fields[3] == _LISTEN:
                where, _, port = fields[1].partition(":")
                yield _address(where), int(port, 16), fields[9]


def _address(text: str) -> str:
    """An address as the kernel writes it: words of four bytes in the machine's own order."""
    words = [bytes.fromhex(text[at : at + 8]) for at in range(0, len(text), 8)]
    data = b"".join(word[::-1] if sys.byteorder == "little" else word for word in words)
    return str(ipaddress.ip_address(data))


def _speaks_tls(address: str, port: int) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Only whether it speaks TLS is asked; nothing is sent over this connection.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)
    try:
        with (
            socket.create_connection((host, port), timeout=_HANDSHAKE_S) as plain,
            context.wrap_socket(plain),
        ):
            return True
    except ssl.SSLError as error:
        # A server that wants our certificate speaks TLS too.
        return "CERTIFICATE_REQUIRED" in str(error) or "ALERT" in str(error)
    except OSError:
        return False
