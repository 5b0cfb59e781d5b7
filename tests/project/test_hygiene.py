"""Nothing of the machine a file was written on, and no address of where packages come from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.project.tree import ROOT, files, shown, texts

# Standards, specifications and what is kept for examples: everything else has no place here.
KNOWN = {
    "127.0.0.1",
    "arm.com",
    "c2sp.org",
    "example.com",
    "example.net",
    "example.org",
    "github.com",
    "golang.org",
    "identity.foundation",
    "ietf.org",
    "keepachangelog.com",
    "psacertified.org",
    "semver.org",
    "toml.io",
    "w3id.org",
    "www.apache.org",
    "www.topografix.com",
    "www.w3.org",
}
URL = re.compile(r"\b(?:https?|ftp|git|ssh)://(?:[^\s/@\"']*@)?([A-Za-z0-9.-]+)")
DOMAIN = re.compile(r"(?<![\w.-])((?:[a-z0-9-]+\.)+(?:com|dev|org))(?![\w-])", re.IGNORECASE)
PLACE = re.compile(r"(?<![\w.-])/(?:home|mnt|opt|root|srv|tmp|Users|work)/")
DOWNLOAD = re.compile(
    r"\b(?:https?|ftp)://[^\s\"'<>)]+\.(?:whl|tar\.(?:gz|xz|bz2)|tgz|zip|deb|rpm|crate|jar)\b",
    re.IGNORECASE,
)
OPTION = re.compile(
    r"^\s*(?:--(?:extra-)?index-url|--find-links|--trusted-host|-i|-f)\b|@\s*(?:file|https?)://",
    re.MULTILINE,
)
RESERVED = re.compile(r"^.*\.(example\.(?:com|net|org))$")
UNFINISHED = re.compile(rf"\b(?:{'TO' + 'DO'}|{'FIX' + 'ME'}|{'XX' + 'X'})\b")


def hits(pattern: re.Pattern[str], found: list[tuple[Path, str]]) -> list[str]:
    return [
        f"{shown(path)}:{text.count(chr(10), 0, match.start()) + 1}: {match.group().strip()}"
        for path, text in found
        for match in pattern.finditer(text)
    ]


def strangers(found: list[tuple[Path, str]]) -> list[str]:
    """Hosts that are named and not known, each with its file."""
    return [
        f"{shown(path)}: {match[1]}"
        for path, text in found
        for pattern in (URL, DOMAIN)
        for match in pattern.finditer(text)
        if "." in match[1] and _registered(match[1].lower().rstrip(".")) not in KNOWN
    ]


def _registered(host: str) -> str:
    """Names below those that are kept for examples (RFC 2606) are as good as these."""
    return "example.org" if host.endswith(".example") else RESERVED.sub(r"\1", host)


def test_no_file_names_a_host_that_is_not_known() -> None:
    assert not strangers(list(texts()))


@pytest.mark.parametrize("pattern", [PLACE, DOWNLOAD], ids=["place", "download"])
def test_no_file_names_a_download_or_a_machine(pattern: re.Pattern[str]) -> None:
    assert not hits(pattern, list(texts()))


def test_pinned_files_say_nothing_of_where_packages_are() -> None:
    pinned = [ROOT / "constraints.txt", *sorted((ROOT / "requirements").iterdir())]
    assert not hits(OPTION, [(path, path.read_text()) for path in pinned])


def test_nothing_is_left_for_later() -> None:
    code = [(path, text) for path, text in texts() if path.suffix in {".py", ".c", ".h", ".sh"}]
    assert not hits(UNFINISHED, code)


def test_the_patterns_find_what_they_are_for() -> None:
    for text in ("https" + "://files.a.b/x", "see packages.test" + ".org", "ssh" + "://me@a.b/x"):
        assert len(strangers([(ROOT / "a", text)])) == 1, text
    assert not strangers([(ROOT / "a", "https" + "://www.w3.org/x and a.com-b, state.io")])
    for place in ("home", "opt", "tmp"):
        assert PLACE.search(f"'/{place}" + "/x'")
    for name in ("a.whl", "a-1.0.tar.gz", "b.deb"):
        assert DOWNLOAD.search("http" + f"://example.com/d/{name}")
    assert not DOWNLOAD.search("https" + "://example.com/zip.html")
    assert OPTION.search("--index" + "-url x")


def test_the_walk_sees_the_project_and_not_what_was_made() -> None:
    seen = {shown(path) for path in files()}
    assert {"pyproject.toml", ".ci/run", "Makefile", "tests/brokers.py"} <= seen
    assert not [name for name in seen if name.startswith((".venv/", ".git/", "build/"))]
    assert not [name for name in seen if "__pycache__" in name]
