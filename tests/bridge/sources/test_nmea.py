"""NMEA: exact positions from captured sentences; no fix and no checksum are no position.

Captures: a GNSS module of an rp2040 data logger (2022-07), a C-Nav3050 of a ship (2014-12), the
module of a variometer (2019-06), and one with BeiDou in a watch's firmware (2022-09).
"""

from __future__ import annotations

import functools
import operator
import socket
import threading
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depin_id.errors import ConfigError, ReadingError
from firmware_bridge.items import SensorReadings
from firmware_bridge.sources.nmea import Nmea, NmeaOptions, degrees
from tests.bridge.sources.hearing import Heard, context, values
from tests.bridge.world import until

LOGGER = [
    "$GPGGA,201229.00,6026.86958,N,02217.14119,E,1,08,0.96,66.1,M,18.7,M,,*6C",
    "$GPRMC,201230.00,A,6026.86949,N,02217.14087,E,0.689,,150722,,,A*72",
]
SHIP = [
    "$GNZDA,000001.00,11,12,2014,00,00*7D",
    "$GNRMC,000001.00,A,2304.167961,N,16553.836924,W,7.87,100.6,111214,0,E,D*17",
    "$GNVTG,100.6,T,,M,7.87,N,14.57,K,D*2E",
    "$PNCTR,NAVQ,000001.00,3D,SBAS,DUAL*38",
    "$GNGGA,000001.00,2304.167961,N,16553.836924,W,2,11,1.0,44.542,M,0.000,M,2.0,0103*43",
]
FLIGHT = [
    "$GNGGA,064607.000,4546.2282,N,00311.6590,E,1,05,2.6,412.0,M,0.0,M,,*77",
    "$GNRMC,064607.000,A,4546.2282,N,00311.6590,E,0.76,0.00,230619,,,A*7D",
]
GSA = [
    "$GPGSA,A,2,29,25,12,,,,,,,,,,4.49,4.38,1.00,1*16",
    "$BDGSA,A,2,,,,,,,,,,,,,4.49,4.38,1.00,4*0D",
]


def nmea(monotonic: Any = None, **options: Any) -> Nmea:
    checked = NmeaOptions.model_validate(
        {"kind": "nmea", "input": "stdin", "sensor": "gnss", **options}
    )
    clock = iter(range(1, 100_000))
    return Nmea(checked, context(), monotonic=monotonic or (lambda: float(next(clock))))


def sentence(body: str) -> bytes:
    check = functools.reduce(operator.xor, body.encode(), 0)
    return f"${body}*{check:02X}\r\n".encode()


def read(one: Nmea, lines: list[str]) -> list[SensorReadings]:
    found = [one.read(line.encode() + b"\r\n") for line in lines]
    return [item for item in (*found, one.end()) if item is not None]


def test_captured_moments_are_exact() -> None:
    (item,) = read(nmea(), SHIP)
    assert item.sensor == "gnss" and item.link is None
    assert values(item) == {
        "lat": "23.06946602 lat",  # 4.167961 / 60 = 0.0694660166...
        "lon": "-165.89728207 lon",
        "altitude": "44.542 m",
        "speed": "4.04868 m/s",  # 7.87 knots, 4.0486777...; two digits finer than the text
        "satellites": "11 count",
        "hdop": "1 /",
    }
    (item,) = read(nmea(time="gnss", take=["position", "altitude"]), FLIGHT + GSA)
    assert values(item) == {"lat": "45.77047 lat", "lon": "3.19431667 lon", "altitude": "412 m"}
    assert {str(reading.time) for reading in item.readings} == {"1561272367"}
    # Two moments: the first had no RMC, the second no GGA.
    first, second = read(nmea(), LOGGER)
    assert values(first).keys() == {"lat", "lon", "altitude", "satellites", "hdop"}
    assert values(second).keys() == {"lat", "lon", "speed"}
    assert values(first)["lat"] == "60.44782633 lat"


@given(
    st.integers(0, 89), st.integers(0, 59), st.text("0123456789", max_size=9), st.sampled_from("NS")
)
def test_angles_are_rounded_once(whole: int, minutes: int, more: str, side: str) -> None:
    text = f"{whole:02}{minutes:02}" + (f".{more}" if more else "")
    found = degrees(text, side, "NS", 90)
    exact = whole + Fraction(f"{minutes}.{more or 0}") / 60
    given_ = Fraction(found.mantissa) * Fraction(10) ** found.exponent
    assert abs(abs(given_) - exact) <= Fraction(1, 2 * 10**8)
    assert given_ <= 0 if side == "S" else given_ >= 0


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        # The attack: a line that anything may have written.
        ([LOGGER[0][:-3]], "nmea.checksum"),
        ([LOGGER[0][:-2] + "6D"], "nmea.checksum"),
        ([LOGGER[0].replace("6026", "6027")], "nmea.checksum"),
        (["GPGGA" + LOGGER[0][6:]], "nmea.sentence"),
        (["$GPGGA,1*0x"], "nmea.sentence"),
        (["\x00" * 40], "nmea.checksum"),
        (["GNRMC,,V,,,,,,,,,,N,V"], "nmea.no_fix"),
        (["GNGGA,064607.000,,,,,0,00,99.9,,M,,M,,"], "nmea.no_fix"),
        (["GPGGA,010203,4546.2282,N,00311.6590,E,8,05,2.6,412.0,M,0.0,M,,"], "nmea.no_fix"),
        (["GPGGA,010203,4546.2282,N,00311.6590,E,6,05,2.6,412.0,M,0.0,M,,"], "nmea.no_fix"),
        (["GPRMC,010203,V,4546.2282,N,00311.6590,E,0,0,230619,,,A"], "nmea.no_fix"),
        (["GPRMC,010203,A,4546.2282,N,00311.6590,E,0,0,230619,,,S"], "nmea.no_fix"),
        (["GPRMC,010203,A,4546.2282,N,00311.6590,E,0,0,230619,,,E"], "nmea.no_fix"),
        (
            [
                "GPGGA,010203,4546.2282,N,00311.6590,E,1,05,2.6,412.0,M,0.0,M,,",
                "GPGSA,A,1,,,,,,,,,,,,,,,",
            ],
            "nmea.no_fix",
        ),
        (["XXGGA,010203,4546.2282,N,00311.6590,E,1,05,2.6,412.0,M,0.0,M,,"], "nmea.talker"),
        (["GPGGA,010203,9100.0000,N,00311.6590,E,1,05,2.6,412.0,M,0.0,M,,"], "nmea.value"),
        (["GPGGA,010203,4560.0000,N,00311.6590,E,1,05,2.6,412.0,M,0.0,M,,"], "nmea.value"),
        (["GPGGA,010203,4546.2282,X,00311.6590,E,1,05,2.6,412.0,M,0.0,M,,"], "nmea.value"),
        (["GPGGA,010203,4546.2282,N,18000.0001,E,1,05,2.6,412.0,M,0.0,M,,"], "nmea.value"),
        (["GPGGA,010203,4546.2282,N,00311.6590,E,1,05,2.6,412.0,F,0.0,M,,"], "nmea.value"),
        (["GPGGA,010203,4546.2282,N,00311.6590,E,1,05,1e400,412.0,M,0.0,M,,"], "nmea.value"),
        (["GPGGA,010203,4546.2282,N,00311.6590,E,1,-5,2.6,412.0,M,0.0,M,,"], "nmea.value"),
        (["GPGGA,010203," + "9" * 400], "nmea.no_fix"),
        (["GPGGA,250000,4546.2282,N,00311.6590,E,1,05,2.6,412.0,M,0.0,M,,"], "nmea.no_fix"),
    ],
)
def test_what_is_no_position_is_refused(lines: list[str], code: str) -> None:
    one = nmea()
    with pytest.raises(ReadingError) as error:
        for line in lines:
            raw = line.startswith(("$", "GPGGA" + LOGGER[0][6:])) or "\x00" in line
            one.read(line.encode() if raw else sentence(line))
        one.end()
    assert error.value.code == code


def test_a_date_is_needed_only_for_its_time() -> None:
    with pytest.raises(ReadingError) as error:
        read(nmea(time="gnss"), [LOGGER[0]])
    assert error.value.code == "nmea.no_time"
    bad = sentence("GPRMC,010203,A,4546.2282,N,00311.6590,E,0,0,320119,,,A").decode().strip()
    with pytest.raises(ReadingError):
        read(nmea(time="gnss"), [bad])
    assert len(read(nmea(), [bad])) == 1


def test_positions_are_taken_once_a_second_at_the_most() -> None:
    now = [0.0]
    one, taken, late = nmea(lambda: now[0]), 0, 0
    for tenth in range(100):
        now[0] = tenth / 10
        try:
            found = one.read(
                sentence(f"GPGGA,0102{tenth // 10:02}.{tenth % 10},4546.2,N,00311.6,E,1,,,,M,,M,,")
            )
        except ReadingError as error:
            assert error.code == "nmea.rate"
            late += 1
        else:
            taken += found is not None
    assert taken == 10 and late == 89
    with pytest.raises(ValueError):
        NmeaOptions.model_validate({"kind": "nmea", "input": "stdin", "sensor": "x", "every": 0.5})


@given(st.lists(st.binary(max_size=120) | st.sampled_from([*LOGGER, *SHIP, *FLIGHT, *GSA])))
def test_any_lines_are_a_position_or_a_reason(lines: list[bytes | str]) -> None:
    one = nmea()
    for line in lines:
        try:
            one.read(line if isinstance(line, bytes) else line.encode())
        except ReadingError as error:
            assert error.code


FIELDS = st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="*,"))


@given(st.sampled_from(["GGA", "RMC", "GSA"]), st.lists(FIELDS, max_size=20))
def test_any_fields_under_a_right_checksum(kind: str, fields: list[str]) -> None:
    one = nmea(time="gnss")
    for body in (f"GP{kind}," + ",".join(fields), f"GP{kind},010203," + ",".join(fields[1:])):
        try:
            one.read(sentence(body))
            one.end()
        except ReadingError as error:
            assert error.code


def test_a_tcp_server_that_goes_and_comes_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        source = nmea(input="tcp", port=port)
        heard, stop = Heard(), threading.Event()
        emit: Any = heard
        thread = threading.Thread(target=source.run, args=(emit, stop))
        thread.start()
        try:
            for lines in (LOGGER, FLIGHT):
                connection, _ = server.accept()
                with connection:
                    connection.sendall("\r\n".join([*lines, "$nonsense", ""]).encode())
            until(lambda: len(heard.refused) == 2 and len(heard.items) == 2, "two moments")
        finally:
            stop.set()
            thread.join(30)
    assert len(heard.items) == 3 and set(heard.refused) <= {"nmea.checksum", "source.tcp"}


def test_the_configuration_says_what_is_missing() -> None:
    for wrong in ({"input": "serial"}, {"input": "tcp"}, {"sensor": "a b"}):
        with pytest.raises(ConfigError):
            nmea(**wrong)
    assert "TCP 127.0.0.1:9" in nmea(input="tcp", port=9).describe()[0]
