"""The audit of what we depend on: ``python ci/audit.py [--online]``.

Without a network: every pinned package has an exact version and hashes, the two files of pins
agree, and its licence is known and allowed (``ci/licences.toml``). With ``--online`` also known
vulnerabilities, by pip-audit in an environment of its own. Where its service does not answer the
exit status is 3 and the reason is said: what was not looked up is never green.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PINS = ROOT / "requirements" / "dev.txt"
CONSTRAINTS = ROOT / "constraints.txt"
LICENCES = ROOT / "ci" / "licences.toml"
TOOL = ROOT / "ci" / "audit.txt"
TOOL_HOME = ROOT / "build" / "audit"
PEERS = ROOT / "bench" / "peers" / "requirements"
NOT_DONE = 3
LOOKUP_S, LOOKUPS_S = 10, 600

_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)\s*(?:;[^\\]*)?\\?")
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}\s*\\?")
_UNREACHABLE = re.compile(
    r"ConnectionError|ConnectTimeout|ReadTimeout|ServiceError|Max retries|Name or service|"
    r"Temporary failure|Network is unreachable|ProxyError|HTTPError",
)


def read_pins(path: Path) -> tuple[dict[str, str], list[str]]:
    """Versions by name of a file with hashes, and what is wrong with it."""
    pins: dict[str, str] = {}
    wrong: list[str] = []
    hashes = 0
    name = ""
    for line in (*path.read_text().splitlines(), "end==0"):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if _HASH.fullmatch(text):
            hashes += 1
            continue
        if name and not hashes:
            wrong.append(f"{path.name}: {name} has no hash")
        found = _PIN.fullmatch(text)
        if found is None:
            wrong.append(f"{path.name}: {text[:60]!r} is neither a pin nor a hash")
            name = ""
            continue
        name, hashes = found[1].lower(), 0
        pins[name] = found[2]
    del pins["end"]
    return pins, wrong


def licence_errors(names: Iterable[str]) -> list[str]:
    """Packages whose licence is not known, not allowed, or not what their metadata says."""
    table = tomllib.loads(LICENCES.read_text())
    allowed, known = set(table["allowed"]), table["packages"]
    wrong: list[str] = []
    for name in names:
        expression = known.get(name)
        if expression is None:
            wrong.append(f"{name}: its licence is not in ci/licences.toml")
            continue
        if not is_allowed(expression, allowed):
            wrong.append(f"{name}: {expression} is not allowed")
        try:
            stated = metadata.metadata(name).json.get("license_expression")
        except metadata.PackageNotFoundError:
            continue
        if stated and stated != expression:
            wrong.append(f"{name}: its metadata says {stated}, ci/licences.toml says {expression}")
    return wrong


def is_allowed(expression: str, allowed: set[str]) -> bool:
    """Whether an SPDX expression of ANDs and ORs without parentheses is allowed."""
    return any(
        all(part.strip() in allowed for part in choice.split(" AND "))
        for choice in expression.split(" OR ")
    )


def offline() -> list[str]:
    """What is wrong with the pins, without a network."""
    pins, wrong = read_pins(PINS)
    constraints = dict(
        line.lower().split("==", 1)
        for line in CONSTRAINTS.read_text().splitlines()
        if line and not line.startswith("#")
    )
    for name in sorted(pins.keys() | constraints.keys()):
        if pins.get(name) != constraints.get(name):
            wrong.append(
                f"{name}: {pins.get(name)} in dev.txt, {constraints.get(name)} constrained"
            )
    for path in (TOOL, *sorted(PEERS.glob("*.txt"))):
        wrong += read_pins(path)[1]
    return wrong + licence_errors(pins)


def judge(status: int, output: str) -> tuple[int, str]:
    """Exit status and verdict for what pip-audit gave: anything unclear is not done, not green."""
    if status == 0:
        return 0, "no known vulnerability in what is pinned"
    if _UNREACHABLE.search(output) or "Found" not in output:
        lines = [line for line in output.splitlines() if line.strip()]
        return NOT_DONE, f"NOT DONE, nothing is known: {lines[-1][:200] if lines else 'no output'}"
    return 1, output


def online() -> tuple[int, str]:
    """Look known vulnerabilities up, if that is possible."""
    python = TOOL_HOME / "bin" / "python"
    try:
        if not python.exists():
            venv.create(TOOL_HOME, with_pip=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--require-hashes"]
        pip += ["--only-binary", ":all:", "--disable-pip-version-check", "-r", str(TOOL)]
        subprocess.run(pip, check=True, capture_output=True, timeout=LOOKUPS_S)
        command = [str(python), "-m", "pip_audit", "--disable-pip", "--require-hashes"]
        command += ["--progress-spinner=off", f"--timeout={LOOKUP_S}", "-r", str(PINS)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LOOKUPS_S)
    except (OSError, subprocess.SubprocessError) as error:
        return NOT_DONE, f"NOT DONE, nothing is known: {error}"
    return judge(done.returncode, done.stdout + done.stderr)


def main(given: list[str]) -> int:
    """Audit; gives the exit status."""
    if set(given) - {"--online"}:
        print(__doc__)
        return 2
    wrong = offline()
    for line in wrong:
        print(f"audit: {line}", file=sys.stderr)
    if wrong:
        return 1
    print("audit: hashes, versions and licences are as they should be")
    if "--online" not in given:
        return 0
    status, said = online()
    print(f"audit: vulnerabilities: {said}", file=sys.stderr if status else sys.stdout)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
