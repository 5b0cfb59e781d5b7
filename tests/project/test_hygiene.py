"""Nothing of the machine a file was written on, and no address of where packages come from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.project.tree import ROOT, files, shown, texts

# Put together here, so that this file does not name what it looks for.
HOSTS = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("registry", "npmjs", "org"),
        ("npmjs", "com"),
        ("deb", "debian", "org"),
        ("security", "debian", "org"),
        ("proxy", "golang", "org"),
        ("static", "crates", "io"),
    )
]
PLACES = [
    "/" + "/".join(parts)
    for parts in (
        ("tmp", "venv"),
        ("tmp", "contract"),
        ("tmp", "skel"),
        ("work", "main"),
        ("work", "shared"),
        ("work", ".library"),
        ("opt", "pypi"),
        ("opt", "wheels"),
        ("root", "."),
    )
]
_WORDS = "|".join(re.escape(word) for word in HOSTS)
HOST = re.compile(rf"(?<![\w-])(?:[\w-]+\.)*(?:{_WORDS})(?![\w-])", re.IGNORECASE)
PLACE = re.compile("|".join(rf"(?<![\w.-]){re.escape(place)}" for place in PLACES))
DOWNLOAD = re.compile(
    r"\b(?:https?|ftp)://[^\s\"'<>)]+\.(?:whl|tar\.(?:gz|xz|bz2)|tgz|zip|deb|rpm|crate|jar)\b",
    re.IGNORECASE,
)
OPTION = re.compile(
    r"^\s*(?:--(?:extra-)?index-url|--find-links|--trusted-host|-i|-f)\b|@\s*(?:file|https?)://",
    re.MULTILINE,
)
UNFINISHED = re.compile(rf"\b(?:{'TO' + 'DO'}|{'FIX' + 'ME'}|{'XX' + 'X'})\b")


def hits(pattern: re.Pattern[str], found: list[tuple[Path, str]]) -> list[str]:
    return [
        f"{shown(path)}:{text.count(chr(10), 0, match.start()) + 1}: {match.group().strip()}"
        for path, text in found
        for match in pattern.finditer(text)
    ]


@pytest.mark.parametrize("pattern", [HOST, PLACE, DOWNLOAD], ids=["host", "place", "download"])
def test_no_file_names_a_registry_a_download_or_a_machine(pattern: re.Pattern[str]) -> None:
    assert not hits(pattern, list(texts()))


def test_pinned_files_say_nothing_of_where_packages_are() -> None:
    pinned = [ROOT / "constraints.txt", *sorted((ROOT / "requirements").iterdir())]
    assert not hits(OPTION, [(path, path.read_text()) for path in pinned])


def test_nothing_is_left_for_later() -> None:
    code = [(path, text) for path, text in texts() if path.suffix in {".py", ".c", ".h", ".sh"}]
    assert not hits(UNFINISHED, code)


def test_the_patterns_find_what_they_are_for() -> None:
    for host in HOSTS:
        assert HOST.search(f"see https://files.{host}/x") and HOST.search(host)
        assert not HOST.search(f"my{host}".replace(".", "-"))
    for place in PLACES:
        assert PLACE.search(f"'{place}x'")
    for name in ("a.whl", "a-1.0.tar.gz", "b.deb"):
        assert DOWNLOAD.search("http" + f"://example.com/d/{name}")
    assert not DOWNLOAD.search("https" + "://example.com/zip.html")
    assert OPTION.search("--index" + "-url x")


def test_the_walk_sees_the_project_and_not_what_was_made() -> None:
    seen = {shown(path) for path in files()}
    assert {"pyproject.toml", ".ci/run", "Makefile", "tests/brokers.py"} <= seen
    assert not [name for name in seen if name.startswith((".venv/", ".git/", "build/"))]
    assert not [name for name in seen if "__pycache__" in name]
