"""All checks, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from depin_id.errors import DepinError
from verify.doctor.broker import check_broker
from verify.doctor.diagnosis import Diagnosis, Setup, of_error
from verify.doctor.files import check_card, check_folders, check_keys, check_settings
from verify.doctor.machine import (
    check_clock,
    check_disk,
    check_lock,
    check_ports,
    check_versions,
)
from verify.doctor.stores import (
    check_backlog,
    check_journal,
    check_key_store,
    check_log,
    try_check,
)

CHECKS: Final[dict[str, Callable[[Setup], Iterator[Diagnosis]]]] = {
    "versions": check_versions,
    "folders": check_folders,
    "disk": check_disk,
    "clock": check_clock,
    "lock": check_lock,
    "keys": check_keys,
    "card": check_card,
    "journal": check_journal,
    "key store": check_key_store,
    "log": check_log,
    "settings": check_settings,
    "backlog": check_backlog,
    "ports": check_ports,
    "broker": check_broker,
}


def doctor(setup: Setup) -> list[Diagnosis]:
    """Look at everything; what one check cannot look at is a finding of its own."""
    try:
        setup.workspace.check()
    except DepinError as error:
        return [of_error(error, setup.root)]
    found: list[Diagnosis] = []
    for check in CHECKS.values():
        # One cause is told once, by the check that comes first.
        for finding in try_check(check(setup), setup.root):
            if (finding.code, finding.what) not in {(f.code, f.what) for f in found}:
                found.append(finding)
    return found
