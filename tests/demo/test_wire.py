"""The demo's broker is nobody's but this machine's."""

from __future__ import annotations

import socket
import sys

import pytest

from verify.demo.wire import Broker

pytest.importorskip("iotcore", reason="the demo's broker (iotcore) is not installed")


@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is an address on Linux only")
def test_it_listens_on_one_address_of_the_loopback() -> None:
    """Its own default is every interface, without any authentication."""
    broker = Broker()
    try:
        socket.create_connection(("127.0.0.1", broker.port), 10).close()
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.2", broker.port), 10).close()
    finally:
        broker.stop()
