"""What an outsider tried against the bridge's sources and service, each held by one check."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from depin_id.errors import ConfigError, ReadingError
from firmware_bridge.config import load_config
from firmware_bridge.mapping import sensor_name
from firmware_bridge.reload import seen
from firmware_bridge.sources import airrohr
from firmware_bridge.sources.airrohr import AirrohrOptions
from firmware_bridge.sources.base import kinds
from tests.bridge.sources.hearing import Heard, make, values
from tests.bridge.sources.test_airrohr import post, serving
from tests.bridge.sources.test_airrohr import source as airrohr_source
from tests.bridge.sources.test_sparkplug import DEVICE, born, metric, payload, unit
from tests.bridge.sources.test_sparkplug import source as sparkplug_source

HEAD = '[bridge]\ndevice="d"\ncard="c"\nspool="s"\n[uplink]\nurl="mqtts://b.example.org"\n'
READING = '[[source.reading]]\npath="v"\nname="n"\nunit="Cel"\n'


@pytest.mark.parametrize(
    ("kind", "topic", "fixed", "held"),
    [
        ("mqtt_json", "s/+/data", 'sensor="hall"', True),
        ("mqtt_json", "s/#", 'sensor="hall"', True),
        ("mqtt_json", "s/hall/data", 'sensor="hall"', False),
        ("mqtt_json", "s/+/{sensor}/data", "", True),
        ("mqtt_json", "s/{sensor}/+/data", "", False),
        ("tasmota", "+/{sensor}/SENSOR", "", True),
        ("tasmota", "%prefix%/%topic%/", "", False),
        ("esphome", "+/sensor/+/state", 'sensor="hall"\ndiscovery=""', True),
        ("esphome", "hall/sensor/+/state", 'sensor="hall"\ndiscovery=""', False),
        ("esphome", "+/{sensor}/sensor/+/state", 'discovery=""', True),
        ("esphome", "{sensor}/sensor/+/state", 'discovery=""', False),
    ],
)
def test_no_g1_where_another_publisher_could_be_the_sensor(
    tmp_path: Path, kind: str, topic: str, fixed: str, held: bool
) -> None:
    file = tmp_path / "bridge.toml"
    source = f'[[source]]\nkind="{kind}"\nlevel="G1"\ndevices="mtls"\nurl="mqtts://b.example.org"\n'
    reading = READING if kind != "tasmota" else ""
    file.write_text(f'{HEAD}{source}topic="{topic}"\n{fixed}\n{reading}')
    if held:
        with pytest.raises(ConfigError, match="one sensor"):
            load_config(file)
    else:
        assert load_config(file).sources[0].level == "G1"


def test_nobody_takes_the_name_that_another_was_given() -> None:
    names = {"0x00158d": "garden", "same": "same"}
    assert sensor_name("0x00158d", names) == "garden" and sensor_name("same", names) == "same"
    with pytest.raises(ReadingError, match="another sensor"):
        sensor_name("garden", names)
    options: dict[str, Any] = {"url": "mqtt://127.0.0.1", "names": {"g/n/d": "g:m"}}
    reading = {"path": "v", "name": "n", "unit": "Cel"}
    plant = make("sparkplug", reading=[reading], **options)
    assert plant._sensor("g/n", "d") == "g:m"
    with pytest.raises(ReadingError, match="another sensor"):
        plant._sensor("g/m", "")


def test_another_authority_of_clients_is_a_change(tmp_path: Path) -> None:
    """Or stations of an authority that was thrown out would go on as G1 after a reload."""
    file = tmp_path / "bridge.toml"
    file.write_text(
        f'{HEAD}[[source]]\nkind="airrohr"\nport=0\ncert="s.pem"\nkey="s.key"\nclient_ca="ca.pem"\n'
    )
    config = load_config(file)
    options = config.sources[0].options
    assert isinstance(options, AirrohrOptions)
    found = set()
    for content in ("one", "two"):
        (tmp_path / "ca.pem").write_text(content)
        found.add(seen(config, options))
    assert len(found) == 2


def test_every_file_that_is_read_once_is_watched() -> None:
    """Files that sources write or read all the time apart."""
    watched = {"ca", "client_ca", "cert", "key", "password_file", "capability"}
    others = {"memory", "path"}
    for kind in kinds().values():
        for name, field in kind.options.model_fields.items():
            if "Path" in str(field.annotation):
                assert name in watched | others, name


def test_a_number_in_a_certificate_is_one_chip() -> None:
    for chip, names in {
        "esp8266-7": {"7", "esp8266-7", "urn:example:7", "urn:example:esp8266-7"},
        "esp32-7": {"esp32-7", "urn:example:esp32-7"},
    }.items():
        for name in ("7", "esp8266-7", "esp32-7", "urn:example:7", "urn:example:esp32-7"):
            if name not in names:
                assert not airrohr._names(frozenset((name,)), chip), (chip, name)
        for name in names:
            assert airrohr._names(frozenset((name,)), chip), (chip, name)


@pytest.mark.parametrize("text", ["-", ".", "--", "-.-", "0.", ".0", "0.0.0", "-0-", "００"])
def test_what_is_no_number_is_not_zero(text: str) -> None:
    with pytest.raises(ReadingError):
        airrohr._number("P1", text)
    assert str(airrohr._number("P1", "-0.00")) == "0"


def test_a_web_page_pushes_no_readings() -> None:
    """A browser reaches what listens on loopback; it says which page it speaks for."""
    heard = Heard()
    with serving(airrohr_source(), heard) as port:
        assert post(port, headers={"Origin": "https://example.org"}) == 403
        assert post(port, headers={"Origin": "null", "Content-Type": "text/plain"}) == 403
        assert not heard.items and post(port) == 200


def test_a_unit_that_changed_since_birth_is_refused() -> None:
    one = born()
    for said in ("°F", "mbar", "K"):
        changed = metric(None, alias=2, float_value=70, properties=unit(said))
        with pytest.raises(ReadingError, match="declared is Cel") as why:
            one.read(DEVICE.format("DDATA"), payload(2, changed))
        assert why.value.code == "sparkplug.unit"
        one = born()
    same = metric(None, alias=2, float_value=21, properties=unit("°C"))
    item, _ = one.read(DEVICE.format("DDATA"), payload(2, same))
    assert item is not None and values(item) == {"temperature": "21 Cel"}


def test_births_make_no_old_value_new() -> None:
    """Anyone who may send a node a command could have its last value signed as one of now."""
    with pytest.raises(ValueError, match="births may be old"):
        sparkplug_source(births=True)
