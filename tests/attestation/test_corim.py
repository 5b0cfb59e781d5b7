"""CoRIMs: those of others are read, signed ones count, and nothing is half understood."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from depin_id import cbor, cose
from depin_id.cbor import Tag
from depin_id.errors import AttestationError
from tests.paths import vectors
from verify.attestation import Anchor, Materials, Model
from verify.attestation import bundles as made
from verify.attestation.corim import CorimEntry, look_at, read_corim
from verify.attestation.materials import Reference
from verify.attestation.reference_files import (
    ModelEntry,
    References,
    read_references_file,
    with_corim,
)

HERE = "attestation/corim/corim/testcases"
IMPLEMENTATION = b"acme-implementation-id-000000001"
VALUES = [
    "87428fc522803d31065e7bce3cf03fe475096631e5e07bbd7a0fde60c4cf25c7",
    "0263829989b6fd954f72baaf2fc64bc2e2f01d692d4de72986ea808f6e99813f",
    "a3a5e715f0cc574a73c3f9bebb6bc24f32ffd5b67b387244c2c909da779a1478",
]
INSIDE = int(datetime(2024, 1, 1, tzinfo=UTC).timestamp()) * 1000
AFTER = int(datetime(2026, 1, 2, tzinfo=UTC).timestamp()) * 1000
BEFORE = int(datetime(2021, 1, 1, tzinfo=UTC).timestamp()) * 1000
KEY = ec.generate_private_key(ec.SECP256R1())


def _spki(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


SIGNER = Anchor("corim", "acme", _spki(KEY.public_key()))


def _vector_key() -> Anchor:
    """Its private half is published: it could not be taken from a file."""
    jwk = json.loads(vectors(f"{HERE}/src/ec-p256.jwk").read_text())
    x, y = (base64.urlsafe_b64decode(jwk[name] + "=") for name in "xy")
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + x + y)
    return Anchor("corim", "vector", _spki(key))


# --- those of others -----------------------------------------------------------------------------


def test_a_signed_corim_of_others_is_read_and_verified() -> None:
    data = vectors(f"{HERE}/signed-good-corim.cbor").read_bytes()
    found = read_corim(data, signers=[SIGNER, _vector_key()])
    assert (found.id, found.signer) == ("test corim id", "vector")
    assert found.is_valid(INSIDE) and not found.is_valid(AFTER) and not found.is_valid(BEFORE)
    assert [next(iter(value.digests)).hex() for _, value in found.values] == VALUES
    for ids, _ in found.values:
        assert ids == {
            "implementation": IMPLEMENTATION.hex(),
            "vendor": "ACME",
            "model": "RoadRunner",
        }
    assert not found.ignored
    unsigned = vectors(f"{HERE}/unsigned-good-corim.cbor").read_bytes()
    assert look_at(unsigned).values == found.values


def test_no_byte_of_a_signed_corim_of_others_is_free() -> None:
    data = vectors(f"{HERE}/signed-good-corim.cbor").read_bytes()
    key = _vector_key()
    for at in range(len(data)):
        changed = bytes([*data[:at], data[at] ^ 1, *data[at + 1 :]])
        with pytest.raises(AttestationError):
            read_corim(changed, signers=[key])


def test_a_corim_needs_a_signer_that_is_known() -> None:
    signed = vectors(f"{HERE}/signed-good-corim.cbor").read_bytes()
    unsigned = vectors(f"{HERE}/unsigned-good-corim.cbor").read_bytes()
    for data, signers in ((signed, [SIGNER]), (signed, []), (unsigned, [_vector_key()])):
        with pytest.raises(AttestationError) as caught:
            read_corim(data, signers=signers)
        assert caught.value.code in ("attestation.signature", "attestation.anchor")
    assert read_corim(unsigned, signers=[], unsigned=True).signer == ""


TAKEN = {
    "corim-1": 1,
    "corim-2": 3,
    "signed-good-corim": 3,
    "unsigned-good-corim": 3,
    "comid-1": 1,
    "comid-1a": 2,
    "comid-2": 0,
    "comid-2b": 3,
    "comid-cend": 0,
    "comid-domain-dep": 0,
    "comid-domain-mem": 0,
    "comid-flags": 0,
    "comid-series": 0,
}


def test_each_file_of_others_is_taken_or_refused_whole() -> None:
    found: dict[str, int] = {}
    files = sorted(vectors("attestation/corim").rglob("*.cbor"))
    assert len(files) > 20
    for file in files:
        data = file.read_bytes()
        if file.parent.parent.name == "comid":
            data = _corim(data)
        try:
            found[file.stem] = len(look_at(data).values)
        except AttestationError as error:
            assert error.code == "attestation.corim"
    assert found == TAKEN


# --- our own, to break one thing each -----------------------------------------------------------


def _corim(comid: bytes, **more: Any) -> bytes:
    fields: dict[Any, Any] = {0: "ours", 1: [Tag(506, comid)]}
    return cbor.encode(Tag(501, fields | {int(key[1:]): value for key, value in more.items()}))


def _measured(name: Any = "BL", **more: Any) -> dict[Any, Any]:
    value = {2: [[1, b"\xdd" * 32]]} | {int(key[1:]): item for key, item in more.items()}
    return {1: value} if name is None else {0: name, 1: value}


ENVIRONMENT: dict[Any, Any] = {0: {0: Tag(600, IMPLEMENTATION)}}


def _comid(
    environment: Any = None, measurements: Any = None, triples: Any = None, **more: Any
) -> bytes:
    values = [[environment or ENVIRONMENT, measurements or [_measured()]]]
    comid: dict[Any, Any] = {1: {0: "tag"}, 4: {0: values} if triples is None else triples}
    return cbor.encode(comid | {int(key[1:]): value for key, value in more.items()})


def _signed(
    payload: bytes, headers: dict[int, Any] | None = None, begins: int = 0, ends: int = 1 << 33
) -> bytes:
    meta = cbor.encode({0: {0: "acme"}, 1: {0: Tag(1, begins), 1: Tag(1, ends)}})
    protected = cbor.encode({1: -7, 3: "application/rim+cbor", 8: meta} | (headers or {}))
    signature = KEY.sign(cose.sig_structure(protected, b"", payload), ec.ECDSA(hashes.SHA256()))
    r, s = decode_dss_signature(signature)
    raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return cbor.encode(Tag(18, [protected, {}, payload, raw]))


def good_corims() -> list[bytes]:
    """CoRIMs that are taken: unsigned, signed, with attest keys and registers."""
    pem = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    psa = Tag(601, {1: "BL", 4: "1.0", 5: b"s" * 32})
    registers = {1: {14: {"rim": [[1, b"\xaa" * 32]]}}}
    triples = {
        0: [[ENVIRONMENT, [_measured(psa), registers]]],
        3: [[ENVIRONMENT | {1: Tag(550, b"i" * 33)}, [Tag(554, pem)]]],
    }
    plain = _corim(_comid(triples=triples), _4={0: Tag(1, 5), 1: Tag(1, 1 << 33)})
    return [plain, _signed(plain)]


def test_names_and_signers_of_components() -> None:
    psa = Tag(601, {1: "BL", 4: "1.0", 5: b"s" * 32})
    component = "psa.software-component"
    measurements = [
        _measured(psa),
        _measured(component, _11="M", _13=[Tag(560, b"t" * 32)]),
        _measured(7),
        _measured(None),
        {1: {14: {"rim": [[1, b"\xaa" * 32]], 0: [[7, b"\xbb" * 48]]}}},
    ]
    found = look_at(_corim(_comid(measurements=measurements)))
    digest = frozenset({b"\xdd" * 32})
    assert [value for _, value in found.values] == [
        Reference("BL", digest, b"s" * 32),
        Reference("M", digest, b"t" * 32),
        Reference("pcr7", digest),
        Reference("", digest),
        Reference("pcr0", frozenset({b"\xbb" * 48})),
        Reference("rim", frozenset({b"\xaa" * 32})),
    ]


REFUSED: list[tuple[str, bytes]] = [
    ("a profile that is not known", _corim(_comid(), _3=Tag(32, "https://example.org/p"))),
    ("an entry of the CoRIM", _corim(_comid(), _6=1)),
    ("an entry of the CoMID", _corim(_comid(_5=1))),
    ("a tag that replaces another", _corim(_comid(_3=[{0: "x", 1: 1}]))),
    ("one instance only", _corim(_comid(ENVIRONMENT | {1: Tag(550, b"\x01" * 33)}))),
    ("a group", _corim(_comid(ENVIRONMENT | {2: Tag(560, b"g")}))),
    ("an environment that is anything", _corim(_comid({0: {}}))),
    ("an authorisation", _corim(_comid(measurements=[_measured() | {2: []}]))),
    ("an svn beside the digest", _corim(_comid(measurements=[_measured(_1=Tag(553, 5))]))),
    ("flags beside the digest", _corim(_comid(measurements=[_measured(_3={0: True})]))),
    ("no digests", _corim(_comid(measurements=[_measured(_2=[])]))),
    ("a digest cut short", _corim(_comid(measurements=[_measured(_2=[[1, b"d" * 8]])]))),
    ("a weak digest", _corim(_comid(measurements=[_measured(_2=[["sha-1", b"d" * 20]])]))),
    ("no tag 501", cbor.encode({0: "ours", 1: []})),
    ("bytes after it", _corim(_comid()) + b"\x00"),
    ("a key that occurs twice", bytes.fromhex("d901f5a300613100613101 80".replace(" ", ""))),
    ("conditions on attest keys", _corim(_comid(triples={3: [[ENVIRONMENT, [], {}]]}))),
    ("a validity that is no time", _corim(_comid(), _4={1: "soon"})),
]


@pytest.mark.parametrize("data", [data for _, data in REFUSED], ids=[name for name, _ in REFUSED])
def test_what_would_change_the_meaning_is_refused(data: bytes) -> None:
    with pytest.raises(AttestationError) as caught:
        look_at(data)
    assert caught.value.code == "attestation.corim"
    entry = CorimEntry("acme", data, unsigned=True)
    with pytest.raises(AttestationError):
        made.bundle_references(References((), (entry,)))


@pytest.mark.parametrize("headers", [{2: [8]}, {33: b"x"}, {3: "text/plain"}, {1: -37}, {1: 0}])
def test_an_envelope_that_is_not_understood_is_refused(headers: dict[int, Any]) -> None:
    read_corim(_signed(_corim(_comid())), signers=[SIGNER])
    with pytest.raises(AttestationError):
        read_corim(_signed(_corim(_comid()), headers), signers=[SIGNER])


def test_what_adds_nothing_is_counted() -> None:
    triples = {0: [[ENVIRONMENT, [_measured()]]], 1: [[]], 10: [[], []]}
    tags = [Tag(506, _comid(triples=triples)), Tag(505, b"")]
    found = look_at(cbor.encode(Tag(501, {0: b"\x01", 1: tags, 2: [], 5: []})))
    assert len(found.values) == 1
    assert found.ignored == {"triple 1": 1, "triple 10": 2, "tag 505": 1}


def test_attest_keys_are_admitted_anchors() -> None:
    pem = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    environment = ENVIRONMENT | {1: Tag(550, b"\x01" + b"i" * 32)}
    triples = {3: [[environment, [Tag(554, pem), Tag(557, [1, b"t"])]]]}
    found = look_at(_corim(_comid(triples=triples)))
    (anchor,) = found.attest_keys("psa")
    assert (anchor.format, anchor.spki) == ("psa", SIGNER.spki)
    assert anchor.ids == {
        "implementation": IMPLEMENTATION.hex(),
        "instance": (b"\x01" + b"i" * 32).hex(),
    }
    assert found.ignored == {"key 557": 1}
    with pytest.raises(AttestationError, match="key"):
        look_at(_corim(_comid(triples={3: [[environment, [Tag(554, "no key")]]]})))


# --- models that take their values from one ------------------------------------------------------


MODEL = Model("thermometer", frozenset({"psa"}))


def _materials(data: bytes, at: int | None, **entry: Any) -> Materials:
    references = References((ModelEntry(MODEL, "acme"),), (CorimEntry("acme", data, **entry),))
    bundles = [
        ("references", "r", made.bundle_references(references)),
        ("anchors", "a", made.bundle_anchors([SIGNER])),
    ]
    return made.materials_from(bundles, max_age_ms=1, at=at)


def test_a_model_has_the_values_of_its_corim_while_it_is_valid_and_signed() -> None:
    pem = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    triples = {0: [[ENVIRONMENT, [_measured()]]], 3: [[ENVIRONMENT, [Tag(554, pem)]]]}
    data = _signed(_corim(_comid(triples=triples)), begins=100, ends=200)
    good = _materials(data, 150_000, anchors="psa")
    (model,) = good.models
    assert model.match == {"implementation": IMPLEMENTATION.hex()}
    assert model.references == (Reference("BL", frozenset({b"\xdd" * 32})),)
    assert len(good.anchors.of("psa")) == 1
    for at in (None, 99_000, 201_000):
        materials = _materials(data, at, anchors="psa")
        (model,) = materials.models
        assert not model.references and not materials.anchors.of("psa")
    assert not next(iter(_materials(_corim(_comid()), 150_000).models)).references
    taken = _materials(_corim(_comid()), 150_000, unsigned=True)
    assert next(iter(taken.models)).references
    forged = data[:-1] + bytes([data[-1] ^ 1])
    assert not next(iter(_materials(forged, 150_000).models)).references


def test_values_of_different_environments_are_never_mixed() -> None:
    other = {0: {0: Tag(600, b"other"), 1: "ACME"}}
    layer = {0: {0: Tag(37, b"u" * 16), 3: 1}}
    triples = {0: [[env, [_measured()]] for env in (ENVIRONMENT, other, layer)]}
    corim = look_at(_corim(_comid(triples=triples)))
    found = with_corim(ModelEntry(MODEL, "acme"), corim)
    ids = sorted(model.match["implementation"] for model in found)
    assert ids == sorted([b"other".hex(), IMPLEMENTATION.hex()])
    (one,) = with_corim(ModelEntry(MODEL, "acme", {"vendor": "ACME"}), corim)
    assert one.match == {"implementation": b"other".hex()}
    described = {"class": (b"u" * 16).hex()}
    assert not with_corim(ModelEntry(MODEL, "acme", described), corim)[0].references
    (named,) = with_corim(ModelEntry(MODEL, "acme", described | {"layer": "1"}), corim)
    assert len(named.references) == 1 and not named.match
    assert with_corim(ModelEntry(MODEL), None) == [MODEL]


# --- TOML ----------------------------------------------------------------------------------------

GOOD = """
[[model]]
name = "thermometer"
formats = ["psa"]
match = { implementation = "aa" }
minimum = { svn = 3 }
settings = { profile = "x", pcrs = [0, 1] }
assurance = ["firmware"]
revocation = "none"
protects_key = true
max_age_s = 600
[[model.reference]]
name = "BL"
digests = ["%s"]
signer = "%s"
[[model]]
name = "second"
formats = ["psa"]
corim = "acme"
[[corim]]
name = "acme"
file = "acme.corim"
unsigned = true
"""


def test_models_of_toml() -> None:
    opened: list[str] = []

    def open_file(name: str) -> bytes:
        opened.append(name)
        return _corim(_comid())

    text = GOOD % ("dd" * 32, "ee" * 32)
    found = read_references_file(text.encode(), open_file)
    assert opened == ["acme.corim"]
    first, second = found.models
    assert first.model == Model(
        "thermometer",
        frozenset({"psa"}),
        match={"implementation": "aa"},
        references=(Reference("BL", frozenset({b"\xdd" * 32}), b"\xee" * 32),),
        minimum={"svn": 3},
        settings={"profile": "x", "pcrs": [0, 1]},
        assurance=frozenset({"firmware"}),
        revocation="none",
        protects_key=True,
        max_age_s=600,
    )
    assert second.corim == "acme" and found.corims[0].unsigned
    models = made.materials_from(
        [("references", "r", made.bundle_references(found))], max_age_ms=1
    ).models
    assert [model.name for model in models] == ["thermometer", "second"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "model = 1",
        "other = 1",
        "[[model]]\nname = 'x'",
        "[[model]]\nname = 'x'\nformats = 'psa'",
        "[[model]]\nname = 'x'\nformats = ['psa']\nother = 1",
        "[[model]]\nname = 'x'\nformats = ['psa']\nmatch = {a = 1}",
        "[[model]]\nname = 'x'\nformats = ['psa']\nminimum = {a = true}",
        "[[model]]\nname = 'x'\nformats = ['psa']\nsettings = {a = 1.5}",
        "[[model]]\nname = 'x'\nformats = ['psa']\nprotects_key = 1",
        "[[model]]\nname = 'x'\nformats = ['psa']\ncorim = 'y'\ncomplete = false",
        "[[model]]\nname = 'x'\nformats = ['psa']\n[[model.reference]]\nname = 'BL'",
        "[[model]]\nname = 'x'\nformats = ['psa']\n[[model.reference]]\nname = 'BL'\ndigests = []",
        "[[model]]\nname = 'x'\nformats = ['psa']\n"
        "[[model.reference]]\nname = 'BL'\ndigests = ['zz']",
        "[[model]]\nname = 'x'\nformats = ['psa']\n" * 2,
        "[[corim]]\nname = 'x'",
        "model = [",
    ],
)
def test_toml_that_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(AttestationError) as caught:
        read_references_file(text.encode(), lambda _: b"")
    assert caught.value.code == "attestation.file"


def test_tags_of_others_stay_tags() -> None:
    dated = cbor2.dumps(cbor2.CBORTag(501, {0: "x", 1: [], 4: {1: cbor2.CBORTag(1, 100)}}))
    assert look_at(dated).not_after == 100_000
