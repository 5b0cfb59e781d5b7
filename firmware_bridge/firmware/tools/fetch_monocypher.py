"""Fetch Monocypher's two C files into a folder, once, and check what came byte for byte.

    python tools/fetch_monocypher.py build/monocypher

Safe when several run at once. The package that vendors them is pinned by its hash, and so is each
of the two files. DEPIN_MONOCYPHER names a folder that has them, for builds without a network.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

FILES = {
    "monocypher.c": "57eb914fc88136119bd41655cccb8c250048bf54d470540625186f8ab16f64be",
    "monocypher.h": "c494da712122da7ff679fdcf318a5317e84972b6c950fe9d896212947797facd",
}
REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements-monocypher.txt"
MAX_FILE = 1 << 20


def is_right(name: str, data: bytes) -> bool:
    """Whether these are the bytes of a file as they were reviewed."""
    return hashlib.sha256(data).hexdigest() == FILES[name]


def is_there(folder: Path) -> bool:
    """Whether a folder holds both files, unchanged."""
    return all(
        (folder / name).is_file() and is_right(name, (folder / name).read_bytes()) for name in FILES
    )


def _download(folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    # The source of this one; what reads its metadata may come built.
    command += ["--no-binary", "pymonocypher", "--require-hashes"]
    command += ["-r", str(REQUIREMENTS), "-d", str(folder)]
    try:
        subprocess.run(command, check=True, timeout=300, stdin=subprocess.DEVNULL)
    except subprocess.SubprocessError as error:
        raise SystemExit(
            "Monocypher could not be fetched; without a network set DEPIN_MONOCYPHER to a folder "
            f"that has {' and '.join(FILES)}, or put both into build/monocypher"
        ) from error
    (archive,) = folder.glob("*.tar.gz")
    return archive


def _extract(archive: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            name = Path(member.name).name
            if name in FILES and member.isfile() and member.size <= MAX_FILE:
                stream = tar.extractfile(member)
                data = b"" if stream is None else stream.read()
                if is_right(name, data):
                    found[name] = data
    return found


def fetch(folder: Path) -> None:
    """Leave both files in the folder. Raises SystemExit when what came is not what is pinned."""
    if is_there(folder):
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_there(folder):
            return
        given = os.environ.get("DEPIN_MONOCYPHER")
        if given is not None:
            try:
                found = {name: (Path(given) / name).read_bytes() for name in FILES}
            except OSError as error:
                raise SystemExit(f"DEPIN_MONOCYPHER: {error.filename}: {error.strerror}") from error
        else:
            with tempfile.TemporaryDirectory() as scratch:
                found = _extract(_download(Path(scratch)))
        for name in FILES:
            if name not in found or not is_right(name, found[name]):
                raise SystemExit(f"{name} is not the file that is pinned: nothing was written")
        for name, data in found.items():
            part = folder / f".{name}"
            part.write_bytes(data)
            part.replace(folder / name)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    fetch(Path(sys.argv[1]))
