"""The command line ``depin-verify``.

A command is loaded when it is asked for: who only looks at a folder is not to wait for a server.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import typer
from typer.main import get_command

from depin_id.commands.common import app, run

_ABOUT: Final = (
    "The aggregator: verify what devices sign, keep it in a log, prove it.\n\n"
    "Example: depin-verify init agg --network net && depin-verify enrol agg enrolment.json && "
    "depin-verify ingest agg envelopes.cbor && depin-verify status agg"
)
# In the order of the help: a command, and the module it is in.
_COMMANDS: Final = {
    **dict.fromkeys(
        ("init", "enrol", "enrolments", "rotate", "revoke", "erase", "policy", "resume"), "setup"
    ),
    "challenge": "evidence",
    **dict.fromkeys(("history", "compromised"), "histories"),
    **dict.fromkeys(("run", "ingest"), "intake"),
    **dict.fromkeys(("status", "explain", "gaps", "receipt"), "looking"),
    "witnesses": "witnesses",
    **dict.fromkeys(("whatif", "tail", "doctor"), "watching"),
    **dict.fromkeys(("audit", "rebuild", "export"), "proving"),
    **dict.fromkeys(("backup", "restore", "archive", "migrate"), "keeping"),
    "demo": "demo",
    "simulate": "simulate",
    "succeed": "owners",
    **dict.fromkeys(("attest", "activate", "attestations"), "attesting"),
    "evidence": "appraise_evidence",
    "check-receipt": "looking",
    "verify-dataset": "proving",
    "compare-checkpoints": "witnesses",
    "check-equivocation": "witnesses",
}
_NAMED: Final = {"compare-checkpoints": "compare"}
_GROUPS: Final = {
    "keys": ("keys", "commands"),
    "batch": ("evidence", "batch"),
    "status-list": ("evidence", "status_list"),
    "anchors": ("materials", "anchors"),
    "references": ("materials", "references"),
    "revocations": ("materials", "revocations"),
    "capability": ("owners", "capability"),
    "owner": ("owners", "owner"),
    "witness": ("witness", "commands"),
}


def _part(module: str, name: str) -> Any:
    return getattr(import_module(f"verify.commands.{module}"), name)


def assemble(only: Collection[str] = ()) -> typer.Typer:
    """The command line; with ``only``, of these commands alone."""
    found = app(_ABOUT)
    # With a single command a Typer application is that command, and takes no name.
    found.callback()(lambda: None)
    found.info.help = _ABOUT
    for name, module in _COMMANDS.items():
        if not only or name in only:
            found.command(name)(_part(module, _NAMED.get(name, name.replace("-", "_"))))
    for name, (module, group) in _GROUPS.items():
        if not only or name in only:
            found.add_typer(_part(module, group), name=name)
    if not only or "version" in only:
        found.command("version")(show_version)
    return found


def __getattr__(name: str) -> Any:
    if name == "cli":
        return assemble()
    raise AttributeError(name)


def show_version() -> None:
    """Print the version.

    Example: depin-verify version
    """
    try:
        print(f"depin-verify {version('depin-id')}")
    except PackageNotFoundError:
        print("depin-verify (not installed: run from the source tree)")


def _notice_other_package() -> None:
    """Another distribution has the import name ``verify`` too; they cannot share a place."""
    try:
        found = version("verify")
    except PackageNotFoundError:
        return
    print(
        f"warning: the distribution 'verify' {found} is installed beside depin-id; both have the "
        "import name verify, so uninstall it",
        file=sys.stderr,
    )


def main(argv: list[str] | None = None) -> None:
    """Run the command line; exits 2 with ``error: code: message`` on errors."""
    _notice_other_package()
    arguments = sys.argv[1:] if argv is None else argv
    known = {*_COMMANDS, *_GROUPS, "version"}
    only = {arguments[0] if arguments else ""} & known
    run(get_command(assemble(only)), argv, "depin-verify")


if __name__ == "__main__":
    main()
