"""Targets: what people and other systems write as text."""

from __future__ import annotations

import atexit
import io
import json
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from depin_id.claims import Place
from depin_id.did import parse_did, parse_did_url
from depin_id.did.jwk import did_jwk, parse_did_jwk
from depin_id.did.key import did_key, parse_did_key
from depin_id.did.multikey import decode_multikey, encode_multikey
from depin_id.enrolment import Enrolment, read_enrolments
from depin_id.errors import DepinError
from depin_id.readings import parse_time, read_stream
from depin_id.senml import Decimal64, format_json, parse_json
from firmware_bridge.config import load_config
from firmware_bridge.mapping import JsonPath
from firmware_bridge.sources.base import Context
from firmware_bridge.sources.lines import Lines, LinesOptions
from firmware_bridge.sources.mqtt_json import MqttJson, MqttJsonOptions
from firmware_bridge.strict_json import parse
from tests.fuzz.target import target, text
from tests.fuzz.wire import DEVICE, KEY, NETWORK
from verify.ingest.options import parse_broker_url
from verify.policy import Policy
from verify.profile import parse_profile
from verify.simulate import read_shares

FOLDER = Path(tempfile.mkdtemp(prefix="depin-fuzz-"))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
_CONTEXT = Context("fuzz", FOLDER, KEY.kid.hex(), NETWORK.card, lambda: 1_760_000_000.0)
_READING = {"path": "v", "name": "laeq", "unit": "dB"}


def take_enrolment(data: bytes) -> None:
    """What is read says the same when it is written."""
    for found in read_enrolments(text(data)):
        assert Enrolment.from_json(json.loads(json.dumps(found.to_json()))) == found
        assert Enrolment.from_list(found.to_list()) == found


def take_json(data: bytes) -> None:
    """SenML JSON; written again it says the same."""
    records = parse_json(data)
    try:
        again = format_json(records)
    except DepinError:
        return
    assert parse_json(again) == records


def take_readings(data: bytes) -> None:
    """CSV and SenML files of readings."""
    for found in read_stream(io.StringIO(text(data))):
        assert found.name


def take_number(data: bytes) -> None:
    """Numbers and times: exact, and one spelling for one number."""
    word = text(data)
    try:
        number = Decimal64.from_text(word)
        assert Decimal64.from_text(str(number)) == number
        assert number - number == Decimal64(0)
    finally:
        parse_time(word)


def take_did(data: bytes) -> None:
    """DIDs, DID URLs, and the keys in them: one spelling for one key."""
    word = text(data)
    for read in (parse_did, parse_did_url, _did_key, _did_jwk, _multikey):
        try:
            read(word)
        except DepinError as error:
            assert error.code


def _did_key(word: str) -> None:
    assert did_key(parse_did_key(word)) == word


def _did_jwk(word: str) -> None:
    assert parse_did_jwk(did_jwk(parse_did_jwk(word))) == parse_did_jwk(word)


def _multikey(word: str) -> None:
    assert encode_multikey(decode_multikey(word)) == word


def take_policy(data: bytes) -> None:
    """A policy written out in full is the same policy."""
    policy = Policy.from_toml(text(data))
    assert Policy.from_toml(policy.to_toml()).digest == policy.digest
    assert Policy.from_encoded(policy.encoded) == policy


def take_policy_bytes(data: bytes) -> None:
    """A logged policy has one encoding."""
    assert Policy.from_encoded(data).encoded == data


def take_profile(data: bytes) -> None:
    """A profile that is logged is read back as it was."""
    profile = parse_profile(text(data))
    assert type(profile).from_list(profile.to_list()) == profile


def take_config(data: bytes) -> None:
    """A bridge's configuration."""
    path = FOLDER / "bridge.toml"
    path.write_bytes(data)
    load_config(path)


def take_strict_json(data: bytes) -> None:
    """The bridge's JSON and paths into it."""
    head, _, body = data.partition(b"\n")
    path = JsonPath.parse(text(head), "fuzz")
    path.find(parse(body))


_JSON = MqttJson(
    MqttJsonOptions.model_validate(
        {
            "kind": "mqtt_json",
            "name": "a",
            "topic": "tele/{sensor}/SENSOR",
            "url": "mqtt://127.0.0.1",
            "time": "t",
            "reading": [_READING, {"path": "on", "name": "on", "type": "bool", "required": False}],
        }
    ),
    _CONTEXT,
)


def take_sensor(data: bytes) -> None:
    """What sensors say to the bridge: topics with JSON, and lines in three formats."""
    head, _, body = data.partition(b"\n")
    reads: list[Callable[[], object]] = [lambda: _JSON.read(text(head), body)]
    reads += [partial(read, data) for read in _LINES]
    for take in reads:
        try:
            take()
        except DepinError as error:
            assert error.code


def take_options(data: bytes) -> None:
    """Options of command lines."""
    word = text(data)
    for read in (parse_broker_url, read_shares):
        try:
            read(word)
        except DepinError as error:
            assert error.code


def _lines(form: str) -> Lines:
    options: dict[str, object] = {"kind": "lines", "name": "a", "input": "stdin", "format": form}
    options |= {"sensor": "one", "reading": [_READING]}
    if form == "csv":
        options["columns"] = ["v", "w"]
    return Lines(LinesOptions.model_validate(options), _CONTEXT)


_LINES = [_lines(form).read for form in ("json", "plain", "csv")]
_ENROLMENT = json.dumps(DEVICE.enrolment.to_json())
_PLACED = json.dumps(NETWORK.device("placed", place=Place(481_370_000, -1)).enrolment.to_json())
_POLICY = "[quota]\ndevice_per_minute = 60\n[time]\nmax_age_s = 10\n"
_PROFILE = (
    'name = "x"\nversion = 1\nslot_ms = 1000\n[fields]\na = { unit = "dB", minimum = -1.5 }\n'
)
_CONFIG = (
    '[bridge]\ndevice = "d"\ncard = "c"\nspool = "s"\n[uplink]\nurl = "mqtt://127.0.0.1"\n'
    '[[source]]\nkind = "lines"\nname = "a"\ninput = "stdin"\nsensor = "x"\n'
    '[[source.reading]]\npath = "v"\nname = "laeq"\nunit = "dB"\n'
)
_SENML = '[{"bn":"urn:dev:ow:1:","bt":1.76e9,"n":"a","u":"Cel","v":20.5},{"n":"b","vs":"x","t":1}]'

target("enrolment", take_enrolment, [_ENROLMENT, _PLACED, _ENROLMENT + "\n" + _PLACED, "{"])
target("senml-json", take_json, [_SENML, "[]", '[{"n":"a","vd":"AAE"},{"n":"a","vb":true}]'])
target(
    "readings", take_readings, ["time,name,value,unit\n1760000000,laeq,55.5,dB\n", _SENML + "\n"]
)
target("number", take_number, ["-12.50e-3", "9223372036854775807", "2026-11-21T14:00:00Z", "1e18"])
target(
    "did",
    take_did,
    [DEVICE.did, did_jwk(KEY), encode_multikey(KEY), DEVICE.did + "#a?b=c", "did:web:a%3A1:b"],
)
target("policy", take_policy, [_POLICY, Policy().to_toml()])
target("policy-bytes", take_policy_bytes, [Policy().encoded])
target("profile", take_profile, [_PROFILE])
target("bridge-config", take_config, [_CONFIG])
target("strict-json", take_strict_json, ['$.a[0].b\n{"a":[{"b":1e5}]}', "a\n[]"])
target("sensor", take_sensor, ['tele/x/SENSOR\n{"v":55.5,"t":1760000000}', "v 55.5 dB", "1,2"])
target("options", take_options, ["mqtts://a:b@[::1]:8883", "copied=0.1,teleport=1/3", "all=0.01"])
