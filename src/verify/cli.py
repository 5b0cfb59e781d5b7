"""The command line ``depin-verify``."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version

from typer.main import get_command

from depin_id.commands.common import app, run
from verify.commands import (
    appraise_evidence,
    attesting,
    demo,
    evidence,
    histories,
    intake,
    keeping,
    keys,
    looking,
    materials,
    owners,
    proving,
    setup,
    simulate,
    watching,
    witness,
    witnesses,
)

cli = app(
    "The aggregator: verify what devices sign, keep it in a log, prove it.\n\n"
    "Example: depin-verify init agg --network net && depin-verify enrol agg enrolment.json && "
    "depin-verify ingest agg envelopes.cbor && depin-verify status agg"
)
for command in (
    setup.init,
    setup.enrol,
    setup.enrolments,
    setup.rotate,
    setup.revoke,
    setup.erase,
    setup.policy,
    setup.resume,
    evidence.challenge,
    histories.history,
    histories.compromised,
    intake.run,
    intake.ingest,
    looking.status,
    looking.explain,
    looking.gaps,
    looking.receipt,
    witnesses.witnesses,
    watching.whatif,
    watching.tail,
    watching.doctor,
    proving.audit,
    proving.rebuild,
    proving.export,
    keeping.backup,
    keeping.restore,
    keeping.archive,
    keeping.migrate,
    demo.demo,
    simulate.simulate,
    owners.succeed,
    attesting.attest,
    attesting.activate,
    attesting.attestations,
    appraise_evidence.evidence,
):
    cli.command()(command)
cli.add_typer(keys.commands, name="keys")
cli.add_typer(evidence.batch, name="batch")
cli.add_typer(evidence.status_list, name="status-list")
cli.add_typer(materials.anchors, name="anchors")
cli.add_typer(materials.references, name="references")
cli.add_typer(materials.revocations, name="revocations")
cli.add_typer(owners.capability, name="capability")
cli.add_typer(owners.owner, name="owner")
cli.command("check-receipt")(looking.check_receipt)
cli.command("verify-dataset")(proving.verify_dataset)
cli.command("compare-checkpoints")(witnesses.compare)
cli.command("check-equivocation")(witnesses.check_equivocation)
cli.add_typer(witness.commands, name="witness")


@cli.command("version")
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
    run(get_command(cli), argv, "depin-verify")


if __name__ == "__main__":
    main()
