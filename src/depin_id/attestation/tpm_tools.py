"""A TPM 2.0 through tpm2-tools: one short process a command, in a private folder.

The tools find the TPM as they always do: by ``TPM2TOOLS_TCTI``, else /dev/tpmrm0. A TPM has room
for few objects at a time, so what a command has loaded is dropped at once.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import weakref
from pathlib import Path
from typing import Final, NoReturn

from depin_id.durable import failed, read_file
from depin_id.errors import AttestationError

SECONDS: Final = 120
"""Bound on one command: some TPMs take a minute to make an RSA key."""
MAX_OUTPUT: Final = 65_536

KEY_TEMPLATE: Final = "ecc:ecdsa-sha256:null"
KEY_ATTRIBUTES: Final = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign"
"""A P-256 key that was made in the TPM and cannot leave it."""


class TpmTools:
    """The tools, and a folder (0700) for what they read and write.

    It is removed by :meth:`close`, or when nothing uses it any more.
    """

    def __init__(self) -> None:
        try:
            self._folder = Path(tempfile.mkdtemp(prefix="depin-tpm-"))
        except OSError as error:
            failed(Path(tempfile.gettempdir()), error)
        self._remove = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)

    def close(self) -> None:
        """Remove the folder. A second call does nothing."""
        self._remove()

    def __enter__(self) -> TpmTools:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def path(self, name: str) -> Path:
        """A file of the folder."""
        return self._folder / name

    def write(self, name: str, data: bytes) -> str:
        """Put something there for a command; gives its path. Raises StateError."""
        try:
            self.path(name).write_bytes(data)
        except OSError as error:
            failed(self.path(name), error)
        return str(self.path(name))

    def read(self, name: str) -> bytes:
        """What a command has written.

        Raises:
            AttestationError: ``attestation.tpm``, it wrote nothing.
        """
        data = read_file(self.path(name), max_bytes=MAX_OUTPUT)
        if not data:
            raise AttestationError("attestation.tpm", f"the TPM's tools gave no {name}")
        return data

    def run(self, *command: str) -> bytes:
        """Run one command; gives its standard output.

        Raises:
            AttestationError: ``attestation.tpm_tools``, it is not installed;
                ``attestation.tpm_timeout``; ``attestation.tpm``, it failed.
        """
        program = shutil.which(command[0])
        if program is None:
            raise AttestationError(
                "attestation.tpm_tools",
                f"there is no {command[0]}",
                hint="install tpm2-tools (5.0 or newer)",
            )
        try:
            done = subprocess.run(
                [program, *command[1:]],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=SECONDS,
                check=False,
                cwd=self._folder,
                env={**os.environ, "LC_ALL": "C"},
            )
        except subprocess.TimeoutExpired as error:
            raise AttestationError(
                "attestation.tpm_timeout",
                f"{command[0]} gave no answer within {SECONDS} s",
                hint="is another program holding the TPM? use a resource manager: /dev/tpmrm0",
            ) from error
        except OSError as error:
            raise AttestationError(
                "attestation.tpm_tools", f"{program}: {error.strerror or error}"
            ) from error
        if done.returncode:
            _failed(command[0], done.stderr)
        return done.stdout[:MAX_OUTPUT]

    def run_object(self, *command: str) -> bytes:
        """Run a command that loads objects, and drop these whether or not it worked."""
        try:
            return self.run(*command)
        finally:
            self._flush()

    def _flush(self) -> None:
        try:
            self.run("tpm2_flushcontext", "-t")
        except AttestationError:
            # The command before says what is wrong; behind a resource manager nothing is left.
            return

    # --- keys that only this TPM can use --------------------------------------------------------

    def create_key(self) -> tuple[bytes, bytes]:
        """Make a P-256 signing key under the owner's storage key.

        Returns:
            TPM2B_PUBLIC and TPM2B_PRIVATE; the latter is sealed by the TPM, for itself.
        """
        files = (str(self.path("new.pub")), str(self.path("new.priv")))
        self.run_object(
            *("tpm2_create", "-Q", "-C", self._storage_key(), "-G", KEY_TEMPLATE),
            *("-g", "sha256", "-a", KEY_ATTRIBUTES, "-u", files[0], "-r", files[1]),
        )
        return self.read("new.pub"), self.read("new.priv")

    def load_key(self, name: str, public: bytes, private: bytes) -> str:
        """Load a key of :meth:`create_key`; gives the file of its context, good until a reset."""
        context = self.path(f"{name}.ctx")
        if not context.exists():
            files = (self.write(f"{name}.pub", public), self.write(f"{name}.priv", private))
            self.run_object(
                *("tpm2_load", "-Q", "-C", self._storage_key(), "-u", files[0], "-r", files[1]),
                *("-c", str(context)),
            )
        return str(context)

    def forget(self) -> None:
        """Drop all contexts: a TPM that was reset takes none of those before."""
        for context in self._folder.glob("*.ctx"):
            context.unlink()

    def _storage_key(self) -> str:
        context = self.path("storage.ctx")
        if not context.exists():
            # The same key each time: it is derived from the owner's seed.
            self.run_object(
                *("tpm2_createprimary", "-Q", "-C", "o", "-G", "ecc", "-g", "sha256"),
                *("-c", str(context)),
            )
        return str(context)


def _failed(tool: str, stderr: bytes) -> NoReturn:
    lines = stderr[-4096:].decode("utf-8", "replace").split("\n")
    said = [line.strip() for line in lines if line.startswith("ERROR")][-2:]
    raise AttestationError(
        "attestation.tpm",
        f"{tool}: {'; '.join(said)[:500] or 'failed'}",
        hint="is there a TPM (TPM2TOOLS_TCTI, /dev/tpmrm0), and may this user use it (group tss)? "
        "After it was cleared its keys are gone: make a new device",
    )
