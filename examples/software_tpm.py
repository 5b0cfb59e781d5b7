"""A software TPM with endorsement keys and certificates of its own authority, for trying things.

Nothing here is genuine hardware: whoever takes ``root.pem`` as an anchor trusts this machine. Needs
swtpm, swtpm_setup and tpm2-tools (see ci/apt-packages.txt).

    eval "$(python examples/software_tpm.py start tpm)"      # sets TPM2TOOLS_TCTI
    tpm2_pcrread sha256:0
    python examples/software_tpm.py restart tpm              # a power cycle
    python examples/software_tpm.py stop tpm
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

TOOLS: Final = ("swtpm", "swtpm_setup", "swtpm_localca", "tpm2_quote", "tpm2_pcrextend")
START_SECONDS: Final = 30


def missing() -> list[str]:
    """What has to be installed before a software TPM can be started."""
    return [tool for tool in TOOLS if shutil.which(tool) is None]


class SoftwareTpm:
    """A software TPM whose state, authority and address are in one folder.

    Attributes:
        folder: everything is in it; the TPM goes on from there when it is started again.
        root: PEM file of the authority's root, the anchor.
        chain: PEM file of the issuer of the EK certificates, which the TPM itself does not hold.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.root = self.folder / "ca" / "swtpm-localca-rootca-cert.pem"
        self.chain = self.folder / "ca" / "issuercert.pem"
        self._state = self.folder / "state"
        self._address = self.folder / "address"
        self._process: subprocess.Popen[bytes] | None = None

    # --- making and running it -------------------------------------------------------------

    def manufacture(self) -> None:
        """Make its seeds, endorsement keys (RSA, ECC) and their certificates; once."""
        if self.root.exists():
            return
        for folder in (self._state, self.folder / "ca"):
            folder.mkdir(parents=True, exist_ok=True)
        authority = self.folder / "ca"
        files = {
            "localca.conf": f"statedir = {authority}\n"
            f"signingkey = {authority}/signkey.pem\n"
            f"issuercert = {self.chain}\n"
            f"certserial = {authority}/certserial\n",
            "localca.options": "--platform-manufacturer Example\n--platform-version 1\n"
            "--platform-model Software\n",
            "setup.conf": f"create_certs_tool={shutil.which('swtpm_localca')}\n"
            f"create_certs_tool_config={self.folder}/localca.conf\n"
            f"create_certs_tool_options={self.folder}/localca.options\n",
        }
        for name, text in files.items():
            (self.folder / name).write_text(text)
        command = ["swtpm_setup", "--tpm2", "--tpmstate", str(self._state), "--create-ek-cert"]
        command += ["--ecc", "--lock-nvram", "--overwrite", "--pcr-banks", "sha256"]
        command += ["--config", f"{self.folder}/setup.conf"]
        if os.geteuid() == 0:
            # It would change to a user who cannot look into private folders.
            command += ["--runas", "root"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            raise RuntimeError(f"swtpm_setup: {done.stdout[-2000:]}{done.stderr[-2000:]}")

    def start(self, *, port: int | None = None) -> None:
        """Switch it on, unless it is; its address is free ports of this machine alone."""
        if self._running() is not None:
            return
        for _ in range(20):
            chosen = port or _two_free_ports()
            process = self._launch(chosen)
            if _answers(chosen, process):
                self._process = process
                self._address.write_text(f"{process.pid} {chosen}\n")
                return
            process.kill()
            process.wait()
        raise RuntimeError(f"swtpm did not start: {(self.folder / 'log').read_text()[-2000:]}")

    def _launch(self, port: int) -> subprocess.Popen[bytes]:
        address = "type=tcp,port={},bindaddr=127.0.0.1"
        command = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self._state}"]
        command += ["--server", address.format(port), "--ctrl", address.format(port + 1)]
        command += ["--flags", "not-need-init,startup-clear"]
        with open(self.folder / "log", "ab") as log:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def stop(self) -> None:
        """Switch it off, whoever started it. A second call does nothing."""
        pid = self._running()
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(10)
            self._process.kill()
            self._process.wait()
            self._process = None
        deadline = time.monotonic() + 10
        while self._running() is not None and time.monotonic() < deadline:
            time.sleep(0.05)

    def _running(self) -> int | None:
        """Its process, when the one that the folder names still is one that runs this state."""
        with contextlib.suppress(OSError, ValueError):
            pid = int(self._address.read_text().split()[0])
            if str(self._state).encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
        return None

    def power_cycle(self) -> None:
        """Off and on again: PCRs as after a reset, resetCount one higher, the same address."""
        # Orderly, as an operating system leaves it.
        self.run("tpm2_shutdown", "-c")
        port = self.port
        self.stop()
        self.start(port=port)

    # --- using it ----------------------------------------------------------------------------

    @property
    def port(self) -> int:
        """Where it listens; its control channel is the port above."""
        return int(self._address.read_text().split()[1])

    @property
    def tcti(self) -> str:
        """How tpm2-tools find it: the value of ``TPM2TOOLS_TCTI``."""
        return f"swtpm:host=127.0.0.1,port={self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """This process's environment, with its address."""
        return {**os.environ, "TPM2TOOLS_TCTI": self.tcti}

    def run(self, *command: str) -> bytes:
        """Run one of the tpm2-tools on it; gives its standard output."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, timeout=60, check=True
        )
        return done.stdout

    def extend(self, pcr: int, digest: bytes) -> None:
        """Extend a PCR of the SHA-256 bank, as firmware does that measures something."""
        self.run("tpm2_pcrextend", f"{pcr}:sha256={digest.hex()}")


@contextlib.contextmanager
def software_tpm(folder: Path) -> Iterator[SoftwareTpm]:
    """A software TPM that runs inside the ``with`` block."""
    tpm = SoftwareTpm(folder)
    tpm.manufacture()
    tpm.start()
    try:
        yield tpm
    finally:
        tpm.stop()


def _two_free_ports() -> int:
    """The lower of two neighbours: the control channel is looked for beside the other."""
    while True:
        port = 20_000 + 2 * secrets.randbelow(6_000)
        with contextlib.suppress(OSError), socket.socket() as lower, socket.socket() as upper:
            lower.bind(("127.0.0.1", port))
            upper.bind(("127.0.0.1", port + 1))
            return port


def _answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return process.poll() is None
        time.sleep(0.02)
    return False


def main(arguments: Sequence[str]) -> int:
    """``start``, ``restart`` or ``stop`` the software TPM of a folder."""
    if len(arguments) != 2 or arguments[0] not in ("start", "restart", "stop"):
        print("usage: software_tpm.py start|restart|stop FOLDER", file=sys.stderr)
        return 2
    if lacking := missing():
        print(f"error: {', '.join(lacking)} not found; see ci/apt-packages.txt", file=sys.stderr)
        return 2
    tpm = SoftwareTpm(Path(arguments[1]))
    if arguments[0] == "start":
        tpm.manufacture()
        tpm.start()
        print(f"export TPM2TOOLS_TCTI={tpm.tcti}")
    elif arguments[0] == "restart":
        tpm.power_cycle()
    else:
        tpm.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
