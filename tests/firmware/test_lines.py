"""Lines between device and bridge: C and Python take and write the same, whatever comes."""

from __future__ import annotations

import ctypes
import os
import socket
import zlib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from depin_id import device_lines
from depin_id.device_lines import (
    Dropped,
    Line,
    LineReader,
    LogText,
    open_port,
    read_line,
    write_line,
)
from depin_id.errors import ConfigError, EncodingError, TransportError
from tests.firmware.lines_c import CLines, build

_WORDS = st.from_regex(r"[!-)+-~][!-~]{0,20}", fullmatch=True)
_CAPACITY = 200


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return build(tmp_path_factory.mktemp("lines"))


def _sum(body: bytes) -> bytes:
    return b"%b *%08x\n" % (body, zlib.crc32(body))


_HOSTILE = st.one_of(
    st.binary(max_size=40),
    st.lists(_WORDS, min_size=1, max_size=10).map(lambda w: _sum(b"depin " + " ".join(w).encode())),
    st.binary(max_size=220).map(lambda body: _sum(b"depin " + body.replace(b"\n", b" "))),
    st.sampled_from(
        [
            *(b"\n", b"\r\n", b"depin ", b"\0", b"depin", b"*", b" *00000000\n", b"x" * 199),
            *(_sum(b"depin "), _sum(b"depin a "), _sum(b"depin  a"), _sum(b"depin a *b")),
            *(_sum(b"depin a b")[:-1] + b"\r\n", _sum(b"depin a\0b"), _sum(b"depin \xc3\xa9")),
            *(_sum(b"Depin a"), _sum(b"depin a").upper(), b"depin " + b"y" * 193 + b"\n"),
            *(_sum(b"depin " + b"y" * n) for n in (182, 183, 184)),
            _sum(b"depin " + b"y" * 183)[:-1] + b"\r\n",
        ]
    ),
)


@given(st.lists(_HOSTILE, max_size=6), st.integers(1, 50))
def test_c_and_python_take_the_same(library: ctypes.CDLL, parts: list[bytes], chunk: int) -> None:
    data = b"".join(parts)
    ours, theirs = LineReader(_CAPACITY), CLines(library, _CAPACITY)
    found = [item for at in range(0, len(data), chunk) for item in ours.feed(data[at : at + chunk])]
    theirs.feed(data)
    lines = [(item.verb, *item.arguments) for item in found if isinstance(item, Line)]
    assert lines == theirs.lines
    assert sum(isinstance(item, Dropped) for item in found) == theirs.dropped


@given(_WORDS, st.lists(_WORDS, max_size=6), st.binary(max_size=70))
def test_c_and_python_write_the_same(
    library: ctypes.CDLL, verb: str, words: list[str], data: bytes
) -> None:
    device = CLines(library, 4096)
    said = device.say(verb, *words)
    assert said == write_line(verb, *words)
    assert read_line(said[:-1]) == Line(verb, tuple(words))
    device.feed(said)
    assert device.lines == [(verb, *words)]
    if data:
        sent = device.send(verb, tuple(words), data)
        assert sent == write_line(verb, *words, data)
        assert read_line(sent[:-1]).data() == data


@given(st.one_of(st.binary(max_size=20).map(bytes.hex), st.from_regex(r"[0-9a-fA-Gg]{0,8}\Z")))
@example("")
def test_hexadecimal_is_lower_case_and_whole(library: ctypes.CDLL, text: str) -> None:
    buffer = ctypes.create_string_buffer(text.encode())
    library.depin_lines_bytes.restype = ctypes.c_long
    count = library.depin_lines_bytes(buffer)
    try:
        expected = Line("x", (text,)).data()
    except EncodingError:
        assert count == -1
    else:
        assert buffer.raw[:count] == expected


def test_a_line_is_bounded_and_the_next_one_is_taken() -> None:
    whole = b"depin up " + b"a" * (device_lines.MAX_LINE - 20)
    fits = _sum(whole)
    assert len(fits) == device_lines.MAX_LINE
    assert isinstance(next(LineReader().feed(fits)), Line)
    over = _sum(whole + b"a")
    found = list(LineReader().feed(over + _sum(b"depin ok") + b"hello\r\n" + over[:-1]))
    assert found == [
        Dropped("line.too_long"),
        Line("ok"),
        LogText(b"hello"),
        Dropped("line.too_long"),
    ]
    with pytest.raises(EncodingError, match="too_long"):
        write_line("up", whole[9:].decode() + "a")
    for words in (("",), ("a b",), ("*a",), ("é",), ("a",) * 9, ("a\n",)):
        with pytest.raises(EncodingError, match="malformed"):
            write_line(*words)
    with pytest.raises(EncodingError, match="checksum"):
        read_line(_sum(b"depin ok")[:-1].replace(b"ok", b"ko"))


def test_ports_over_sockets_and_pseudo_terminals(tmp_path: Path) -> None:
    here, there = os.openpty()
    try:
        port = open_port(os.ttyname(there))
        os.write(here, b"depin \xff\x03\r\n")  # raw: nothing is translated
        assert port.read(10) == b"depin \xff\x03\r\n"
        port.write(b"\x04x\n")
        assert os.read(here, 10) == b"\x04x\n"
        assert port.read(0) == b""
        with pytest.raises(TransportError, match="port.unusable"):
            open_port(os.ttyname(there))  # another program has it
    finally:
        os.close(here)
        os.close(there)
    with pytest.raises(TransportError, match="port.lost"):
        while True:
            port.read(10)
    port.close()

    listener = socket.create_server(("127.0.0.1", 0))
    path = tmp_path / "s"
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(str(path))
    unix.listen()
    with listener, unix:
        urls = {f"socket://127.0.0.1:{listener.getsockname()[1]}": listener, f"unix:{path}": unix}
        for url, server in urls.items():
            port = open_port(url)
            peer = server.accept()[0]
            with peer:
                peer.sendall(b"a\n")
                assert port.read(10) == b"a\n"
                port.write(b"b\n")
                assert peer.recv(9) == b"b\n"
            with pytest.raises(TransportError, match="port.lost"):
                port.read(10)
            port.close()
    for bad in ("", "socket://x", "ftp://x/y", "socket://h:70000", "a\0b"):
        with pytest.raises(ConfigError, match="config.port"):
            open_port(bad)
    with pytest.raises(TransportError, match="port.unusable"):
        open_port(str(tmp_path / "nothing"))
