"""Fetch Monocypher's two C files into a folder, once, check them, and make a small one.

    python tools/fetch_monocypher.py build/monocypher

Safe when several run at once. The package that vendors them is pinned by its hash, and so is each
of the two files. Beside them comes monocypher_small.c, in which a square of a field element is a
product: smaller by 0.9 KB, slower by an eighth, and pinned too. DEPIN_MONOCYPHER names a folder
that has the two, for builds without a network.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

FILES = {
    "monocypher.c": "57eb914fc88136119bd41655cccb8c250048bf54d470540625186f8ab16f64be",
    "monocypher.h": "c494da712122da7ff679fdcf318a5317e84972b6c950fe9d896212947797facd",
}
SMALL = "monocypher_small.c"
SMALL_HASH = "9ba822c6230719730cbc9c5c26ee02b91ab1c186fd21b69f2add06eb4169e4c9"
REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements-monocypher.txt"
MAX_FILE = 1 << 20


def is_right(name: str, data: bytes) -> bool:
    """Whether these are the bytes of a file as they were reviewed."""
    expected = SMALL_HASH if name == SMALL else FILES[name]
    return hashlib.sha256(data).hexdigest() == expected


_SQUARE = re.compile(rb"(static void fe_sq\(fe h, const fe f\)\n\{\n).*?(\n\}\n)", re.DOTALL)


def small(source: bytes) -> bytes:
    """monocypher.c with fe_sq as a call of fe_mul. Raises SystemExit unless it is as pinned."""
    made, count = _SQUARE.subn(rb"\1\tfe_mul(h, f, f);\2", source)
    if count != 1 or not is_right(SMALL, made):
        raise SystemExit("monocypher.c does not have the one fe_sq that is made small")
    return made


def is_there(folder: Path) -> bool:
    """Whether a folder holds both files and the small one, unchanged."""
    return all(
        (folder / name).is_file() and is_right(name, (folder / name).read_bytes())
        for name in (*FILES, SMALL)
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
    """Leave the three files in the folder. Raises SystemExit when what came is not pinned."""
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
        found[SMALL] = small(found["monocypher.c"])
        for name, data in found.items():
            part = folder / f".{name}"
            part.write_bytes(data)
            part.replace(folder / name)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    fetch(Path(sys.argv[1]))
