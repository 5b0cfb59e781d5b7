"""The parts that bound things, each alone: rates, budgets, paths, the inbox's shares, the log."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify.eventlog import EventLog
from verify.http.limits import MAX_CLIENTS, Budget, Clients, Rates
from verify.http.log_files import parse_tile
from verify.http.problem import Problem
from verify.httpd import Limits, _Gate
from verify.ingest import Message
from verify.ingest.http import RequestSource
from verify.ingest.inbox import Arrival, Inbox
from verify.listen import is_loopback, parse_address
from verify.log.layout import ENTRIES, tile_path


def _scope(address: str, *forwarded: str) -> dict[str, Any]:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    return {"client": (address, 1), "headers": headers}


@given(st.lists(st.floats(0, 100), max_size=200), st.integers(1, 600), st.integers(1, 50))
def test_a_rate_is_never_exceeded(pauses: list[float], per_minute: int, burst: int) -> None:
    now = 0.0
    rates = Rates(per_minute, burst, lambda: now)
    granted = 0
    for pause in pauses:
        now += pause
        wait_s = rates.take("a")
        granted += not wait_s
        if wait_s:
            now += wait_s + 1e-6
            assert rates.take("a") == 0, "what was promised is kept"
            granted += 1
    assert granted <= burst + per_minute / 60 * now + 1


def test_what_is_charged_afterwards_is_bounded() -> None:
    now = 0.0
    rates = Rates(60, 10, lambda: now)
    rates.charge("stranger", 5)
    assert len(rates) == 0 and rates.take("a") == 0
    rates.charge("a", 8)
    assert rates.take("a") == 0 and rates.take("a") == 1
    rates.charge("a", 1 << 40)
    assert rates.take("a") == 11
    now = 11.0
    assert rates.take("a") == 0


def test_the_table_of_rates_is_bounded_and_forgets_the_quietest() -> None:
    rates = Rates(1, 1, lambda: 0.0)
    assert rates.take("first") == 0 and rates.take("second") == 0
    for n in range(MAX_CLIENTS - 2):
        rates.take(str(n))
    assert rates.take("first") > 0
    rates.take("one more")
    assert len(rates) == MAX_CLIENTS
    assert rates.take("first") > 0, "who comes back is remembered"


def test_a_client_is_an_address_or_a_network_of_64_bits() -> None:
    clients = Clients(["10.0.0.1", "10.0.0.2"])
    assert clients.address(_scope("192.0.2.7")) == "192.0.2.7"
    assert clients.address(_scope("::ffff:192.0.2.7")) == "192.0.2.7"
    assert clients.address(_scope("2001:db8:1:2:3::4")) == "2001:db8:1:2::/64"
    assert clients.address(_scope("192.0.2.7", "1.2.3.4")) == "192.0.2.7"
    assert clients.address(_scope("10.0.0.1", "1.2.3.4, 5.6.7.8", "10.0.0.2")) == "5.6.7.8"
    assert clients.address(_scope("10.0.0.1", "1.2.3.4, garbage")) == "unknown"
    assert clients.address(_scope("10.0.0.1")) == "10.0.0.1"
    names = {clients.principal(_scope(a)) for a in ("192.0.2.7", "192.0.2.8")}
    assert len(names) == 2 and all(len(n) == 21 and "192" not in n[:5] for n in names)
    assert Clients().principal(_scope("192.0.2.7")) not in names


def test_a_budget_is_bytes_and_comes_back() -> None:
    budget = Budget(10)
    budget.take(6)
    with pytest.raises(Problem, match="at once"):
        budget.take(5)
    budget.give_back(6)
    budget.take(10)


@given(st.one_of(st.just(ENTRIES), st.integers(0, 63)), st.integers(0, 10**18), st.integers(1, 256))
def test_every_tile_has_one_path_and_no_other_path_is_one(
    level: int, index: int, width: int
) -> None:
    path = tile_path(level, index, width)
    assert parse_tile(path) == (level, index, width)
    for other in (f"{path}/", f"/{path}", path.upper(), path.replace("tile/", "tile/0", 1)):
        assert parse_tile(other) != (level, index, width)


@given(st.text("tile/entrisx0123456789.p%\\\n", max_size=40))
def test_a_path_that_is_read_is_the_path_that_is_opened(path: str) -> None:
    found = parse_tile("tile/" + path)
    assert found is None or tile_path(*found) == "tile/" + path


def _message(size: int, reply: int) -> Message:
    return Message(bytes(size), "p", 0, "s", None, reply)


def test_neither_way_in_can_take_the_room_of_the_other() -> None:
    inbox = Inbox(2, 100, max_requests=2, max_request_bytes=100)
    assert inbox.offer_request(_message(60, 1))
    assert not inbox.offer_request(_message(60, 2)), "bytes are bounded"
    assert inbox.offer_request(_message(40, 3))
    assert not inbox.offer_request(_message(0, 4)), "and so is their number"
    assert not inbox.full, "what requests bring does not stop a broker"
    inbox.offer(Arrival(_message(1, 0), 1, 1))
    inbox.offer(Arrival(_message(1, 0), 2, 1))
    assert inbox.full and (len(inbox), inbox.bytes, inbox.requests) == (4, 102, (2, 100))
    taken = inbox.take(messages=3, size=1000, wait_s=0, linger_s=0, gap_s=0)
    assert [item.asked for item in taken] == [True, True, False]
    assert inbox.offer_request(_message(100, 5)), "and a full broker's share does not stop them"
    inbox.interrupt()
    assert not inbox.offer_request(_message(0, 6))


def test_a_source_that_has_stopped_promises_nothing() -> None:
    class Never:
        def commit(self, messages: object) -> list[Any]:
            raise AssertionError

        def idle(self, now_ms: int) -> list[Any]:
            return []

    source = RequestSource(Never(), Inbox(1, 1))
    waiting = source.submit(b"x", "p", 0)
    assert waiting is not None and source.waiting == 1
    source.stop()
    later = source.submit(b"x", "p", 0)
    assert later is not None
    assert not waiting.result(0).committed and not later.result(0).committed
    assert source.waiting == 0


def test_a_log_cannot_be_flooded_or_steered() -> None:
    now = 0.0
    out = io.StringIO()
    log = EventLog("text", stream=out, clock=lambda: now, quiet=frozenset({"committed"}))
    for _ in range(1000):
        log("http.error", {"path": "a\nfake \x1b[2J"})
    log("committed", {"accepted": 1})
    log("mqtt.connected", {})
    now = 5.0
    log("http.error", {"long": "x" * 5000})
    lines = out.getvalue().splitlines()
    assert len(lines) == 22 and "mqtt.connected" in lines[20]
    assert "left_out=980" in lines[21] and len(lines[21]) < 600
    assert not any("\x1b" in line or line.startswith("fake") for line in lines)


def test_a_log_of_json_stays_json() -> None:
    out = io.StringIO()
    log = EventLog("json", stream=out, wall=lambda: 7)
    log("x.y", {"text": 'a"\n', "count": 3})
    assert json.loads(out.getvalue()) == {"time": 7, "event": "x.y", "text": 'a"\n', "count": 3}
    out.close()
    log("x.y", {})


def test_addresses() -> None:
    assert parse_address("127.0.0.1:80") == ("127.0.0.1", 80)
    assert parse_address("[::1]:0") == ("::1", 0)
    assert [is_loopback(h) for h in ("127.0.0.9", "::1", "localhost", "0.0.0.0", "::", "a.b")] == [
        *(True, True, True),
        *(False, False, False),
    ]


def test_connections_are_counted_by_customer() -> None:
    gate = _Gate(Limits(connections=100, per_address=2), exempt=["2001:db8:2::1"])
    mine = [f"2001:db8:1:2::{n:x}" for n in range(1, 5)]
    assert [gate.enter(n, address) for n, address in enumerate(mine)] == [True, True, False, False]
    assert gate.enter(4, "2001:db8:1:3::1"), "another customer"
    assert all(gate.enter(5 + n, "2001:db8:2::1") for n in range(5)), "a proxy"
    for address in mine:
        gate.leave(address)
    assert gate.enter(10, mine[0]) and gate.open == 7
