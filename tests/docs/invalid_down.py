"""Invalid messages and log content: one thing wrong in each, and the code it is refused with."""

from __future__ import annotations

from typing import Any

from depin_id import ack, cbor, cose
from depin_id.network import sign_card
from tests.docs.material import NOON, Material
from tests.docs.valid import card_of


def cards(made: Material) -> list[dict[str, Any]]:
    card, root = card_of(made), made.signers["root"]
    good = cose.parse_sign1(sign_card(card, root))

    def signed(change: dict[int, Any], headers: dict[int, Any] | None = None) -> bytes:
        payload = {**cbor.decode(good.payload), **change}
        carried = {4: root.public_key.kid, **(headers or {})}
        return cose.sign1(
            carried, cbor.encode(payload), kind="card", network=made.network, signer=root
        )

    witness = ["witness.example/w1", made.key("witness").raw]
    rows: list[tuple[str, bytes, str, str]] = [
        ("of another network", sign_card(card, root), made.other_network, "network.foreign"),
        ("kid not the root's", signed({}, {4: bytes(8)}), made.network, "network.card"),
        ("a header too many", signed({}, {3: 0}), made.network, "network.card"),
        ("a member too many", signed({10: 0}), made.network, "network.card"),
        ("no witnesses where they are named", signed({9: [1, []]}), made.network, "network.card"),
        ("a quorum of none", signed({9: [0, [witness]]}), made.network, "network.card"),
        ("a quorum above the witnesses", signed({9: [2, [witness]]}), made.network, "network.card"),
        (
            "a witness under two names",
            signed({9: [1, [witness, ["witness.example/w2", witness[1]]]]}),
            made.network,
            "network.card",
        ),
        (
            "a witness with a plus in its name",
            signed({9: [1, [["w+1", witness[1]]]]}),
            made.network,
            "network.card",
        ),
        (
            "the log as its own witness",
            signed({9: [1, [["w", made.key("log").raw]]]}),
            made.network,
            "network.card",
        ),
        (
            "a witness of small order",
            signed({9: [1, [["w", b"\x01" + bytes(31)]]]}),
            made.network,
            "key.not_admissible",
        ),
        ("name with capitals", signed({2: "Noise"}), made.network, "network.name"),
        ("no acknowledgement key", signed({6: []}), made.network, "network.card"),
        ("validity ends before it begins", signed({5: 1}), made.network, "network.card"),
        (
            "log key of small order",
            signed({8: b"\x01" + bytes(31)}),
            made.network,
            "key.not_admissible",
        ),
    ]
    return [
        {"operation": "card", "name": name, "bytes": data.hex(), "network": network, "error": error}
        for name, data, network, error in rows
    ]


def down(made: Material) -> list[dict[str, Any]]:
    to, network = made.key("device").thumbprint, made.network
    origin = card_of(made).log_origin
    item = ack.AckItem(bytes(32), "accepted", 0, bytes(32))
    good = ack.Ack(to, 1, NOON * 1000, None, origin, (item,), None)

    def acked(signer: str = "ack", where: str = network, **change: Any) -> bytes:
        fields = {name: getattr(good, name) for name in good.__dataclass_fields__}
        return ack.sign_ack(
            ack.Ack(**{**fields, **change}), network=where, signer=made.signers[signer]
        )

    challenge = ack.sign_challenge(
        ack.Challenge(to, bytes(15), NOON), network=network, signer=made.signers["ack"]
    )
    resume = ack.Resume(to, b"\x22" * 16, 41)
    resumed = ack.sign_resume(resume, network=network, signer=made.signers["ack"])
    floor = ack.Resume(to, b"\x22" * 16, 2**32 - 1)
    high = ack.sign_resume(floor, network=network, signer=made.signers["ack"])
    sign1 = cose.parse_sign1(acked())
    as_challenge = cose.sign1(
        {4: made.key("ack").kid},
        sign1.payload,
        kind="challenge",
        network=network,
        signer=made.signers["ack"],
    )
    extra = cose.sign1(
        {4: made.key("ack").kid, 3: 0},
        sign1.payload,
        kind="ack",
        network=network,
        signer=made.signers["ack"],
    )
    bad_item = ack.AckItem(bytes(31), "accepted", 0, bytes(32))
    long_code = ack.AckItem(bytes(32), "x" * 65, 0, bytes(32))
    rows: list[tuple[str, str, bytes, str]] = [
        ("ack", "for another recipient", acked(recipient=bytes(32)), "ack.foreign"),
        (
            "ack",
            "signed by a key that the card does not name",
            acked("stranger"),
            "network.key_unknown",
        ),
        (
            "ack",
            "signed by the root instead of an acknowledgement key",
            acked("root"),
            "network.key_unknown",
        ),
        ("ack", "signed for another network", acked(where=made.other_network), "signature.invalid"),
        ("ack", "signed for another purpose", as_challenge, "signature.invalid"),
        ("ack", "a header too many", extra, "ack.malformed"),
        ("ack", "origin of another log", acked(origin="example.net/other"), "ack.malformed"),
        ("ack", "identity of 31 bytes", acked(items=(bad_item,)), "ack.malformed"),
        ("ack", "code of 65 characters", acked(items=(long_code,)), "ack.malformed"),
        ("ack", "beacon of 4 bytes", acked(beacon=bytes(4)), "ack.malformed"),
        ("challenge", "nonce of 15 bytes", challenge, "challenge.malformed"),
        ("resume", "another nonce", resumed, "resume.stale"),
        ("resume", "epoch floor leaves no epoch", high, "resume.malformed"),
    ]
    out = []
    for operation, name, data, error in rows:
        row = {"operation": operation, "name": name, "bytes": data.hex(), "recipient": "device"}
        if operation == "resume":
            row["nonce"] = ("33" if error == "resume.stale" else "22") * 16
        out.append({**row, "error": error})
    return out


def leaves() -> list[dict[str, Any]]:
    leaf = [1, 16, bytes(16), 7, 0, bytes(32), None, "accepted", [], "D1", NOON, bytes(16), 1]

    def changed(index: int, value: Any) -> bytes:
        return cbor.encode([*leaf[:index], value, *leaf[index + 1 :]])

    def judged(*row: Any) -> bytes:
        return cbor.encode(["depin-records/1", "did:x:y", bytes(32), "did:x:y", [list(row)]])

    rest: tuple[Any, ...] = (0, None, None, "", [])

    def valued(value: Any) -> bytes:
        return judged("a", "", value, 0, *rest)

    def placed(lat: Any, lon: Any) -> bytes:
        return judged("a", "", 1, 0, 0, lat, lon, "", [])

    rows = [
        ("leaf", "of an unknown version", changed(0, 2), "log.leaf"),
        ("leaf", "version is a float", changed(0, 1.0), "log.leaf"),
        ("leaf", "of an unknown level", changed(9, "D9"), "log.leaf"),
        ("leaf", "of twelve", cbor.encode(leaf[:12]), "log.leaf"),
        ("leaf", "reference of 15 bytes", changed(2, bytes(15)), "log.leaf"),
        ("leaf", "commitment of 31 bytes", changed(5, bytes(31)), "log.leaf"),
        ("leaf", "epoch over 32 bits", changed(3, 1 << 32), "log.leaf"),
        ("leaf", "flags not sorted", changed(8, ["late", "chain.tail_unknown"]), "log.leaf"),
        ("leaf", "administration of three", cbor.encode([1, 1, 0]), "log.leaf"),
        ("leaf", "kind 0", cbor.encode([1, 0, NOON, []]), "log.leaf"),
        ("leaf", "kind 32", cbor.encode([1, 32, NOON, []]), "log.leaf"),
        (
            "records",
            "of another format",
            cbor.encode(["depin-records/2", "did:x:y", bytes(32), "did:x:y", []]),
            "log.records",
        ),
        ("records", "row of eight", judged("a", "", 1, 0, 0, None, None, []), "log.records"),
        ("records", "decimal fraction of one", valued(cbor.Tag(4, [1])), "log.records"),
        ("records", "decimal fraction not canonical", valued(cbor.Tag(4, [-1, 50])), "log.records"),
        ("records", "decimal fraction with exponent 0", valued(cbor.Tag(4, [0, 5])), "log.records"),
        ("records", "value is a float", valued(1.5), "log.records"),
        ("records", "latitude over 90 degrees", placed(900_000_001, 0), "log.records"),
        ("records", "latitude alone", placed(0, None), "log.records"),
        ("records", "time_lo over 2^50", judged("a", "", 1, 2**50 + 1, *rest), "log.records"),
    ]
    return [
        {"operation": operation, "name": name, "bytes": data.hex(), "error": error}
        for operation, name, data, error in rows
    ]
