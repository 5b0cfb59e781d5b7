"""Does it add up? Compares what was sent with what the journal and acknowledgements say.

Pure: accounts and the journal's sums in, checks out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from verify.demo.ledger import DUPLICATE, Account, Book, Check
from verify.verdict import ACCEPTED, CODES


def reconcile(honest: Sequence[Account], cheats: Sequence[Account], book: Book) -> list[Check]:
    """All checks of a run, in the order people want to read them.

    Args:
        honest: accounts all of whose envelopes and readings must be accepted, once.
        cheats: accounts with the outcomes they must come to.
        book: the journal's sums.
    """
    checks = [_honest(honest), *(_cheat(account) for account in cheats)]
    everybody = [*honest, *cheats]
    checks.append(_balance(everybody))
    checks.append(_readings(everybody, book))
    checks.append(_counted(everybody, book))
    found = f"{book.strangers} entries that nobody sent"
    checks.append(Check("nothing in the journal came from nowhere", not book.strangers, found))
    return checks


def _honest(accounts: Sequence[Account]) -> Check:
    sent = sum(account.sent for account in accounts)
    wrong = [account for account in accounts if not _all_accepted(account)]
    if not sent:
        return Check("honest sensors: all accepted", False, "they sent nothing")
    if wrong:
        text = "; ".join(f"{a.name}: {describe(a.outcomes)} of {a.sent}" for a in wrong[:3])
        return Check("honest sensors: all accepted", False, f"{len(wrong)} of them not: {text}")
    readings = sum(account.readings or 0 for account in accounts)
    found = f"{sent} envelopes of {len(accounts)} sensors, {readings} readings"
    return Check("honest sensors: all accepted", True, found)


def _all_accepted(account: Account) -> bool:
    return (
        account.balanced
        and account.outcomes[ACCEPTED] == account.sent
        and account.records[""] == account.readings
        and set(account.records) <= {""}
    )


def _cheat(account: Account) -> Check:
    """A cheat is caught when every envelope and record has just the outcome it must have."""
    found = describe(account.outcomes)
    problems = []
    if account.expected is not None:
        wanted = Counter(account.expected)
        # What the broker delivered twice has the same outcome once more.
        spare = account.outcomes - wanted
        if (
            wanted - account.outcomes
            or spare.total() > account.repeated
            or set(spare) - set(wanted)
        ):
            problems.append(f"expected {describe(wanted)}")
    if account.expected_records is not None:
        found += f" (records: {describe(account.records)})"
        if account.records != Counter(account.expected_records):
            problems.append(f"expected records: {describe(account.expected_records)}")
    if account.answers:
        problems.append(f"it got {account.answers} acknowledgements")
    return Check(account.name, not problems, "; ".join([found, *problems]))


def _balance(accounts: Sequence[Account]) -> Check:
    wrong = [account for account in accounts if not account.balanced]
    sent = sum(account.sent for account in accounts)
    name = "everything sent is accounted for"
    if wrong:
        text = "; ".join(
            f"{a.name}: {a.sent} sent and {a.repeated} repeated, but {describe(a.outcomes)}"
            for a in wrong[:3]
        )
        return Check(name, False, text)
    total: Counter[str] = sum((account.outcomes for account in accounts), Counter())
    return Check(name, True, f"{sent} sent = {describe(total)}")


def _readings(accounts: Sequence[Account], book: Book) -> Check:
    mine = sum(account.records[""] for account in accounts)
    found = f"{book.readings} in the journal, {mine} of these actors"
    return Check(
        "every reading that counts was sent, and counts once", mine == book.readings, found
    )


def _counted(accounts: Sequence[Account], book: Book) -> Check:
    """What has no entry of its own is in the counted entries, against those who sent it alone."""
    left = Counter(book.counted)
    missing: list[str] = []
    for account in accounts:
        for code, count in account.outcomes.items():
            if code not in CODES or CODES[code].outcome not in ("counted", "indeterminate"):
                continue
            # Every arrival is counted, so there may be more than envelopes, never fewer.
            if sum(left.pop((who, code), 0) for who in account.principals) < count:
                missing.append(f"{account.name}: {code}")
    total: Counter[str] = Counter()
    for (_, code), count in book.counted.items():
        total[code] += count
    found = "; ".join(
        [describe(total)]
        + [f"not counted: {what}" for what in missing]
        + [f"{who} did nothing: {count} {code}" for (who, code), count in left.items()]
    )
    return Check(
        "what has no entry is counted, against cheats alone", not missing and not left, found
    )


def describe(counts: Mapping[str, int]) -> str:
    """Counts in words: ``12 accepted, 3 duplicate``."""
    order = sorted(counts.items(), key=lambda item: (item[0] not in (ACCEPTED, DUPLICATE), item))
    return ", ".join(f"{count} {code or 'counting'}" for code, count in order if count) or "nothing"
