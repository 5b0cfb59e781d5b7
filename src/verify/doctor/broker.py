"""The broker: reached, over TLS, with these credentials, and not open to everybody."""

from __future__ import annotations

import ipaddress
import secrets
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import paho.mqtt.client as paho
from cryptography import x509
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from depin_id.network import load_card
from depin_id.networkdir import CARD_FILE
from verify.doctor.diagnosis import Broker, Diagnosis, Setup
from verify.ingest.options import BrokerAddress, TlsOptions, parse_broker_url

ANSWER_S = 10.0
_SOON = timedelta(days=30)


def check_broker(setup: Setup) -> Iterator[Diagnosis]:
    """Try it as ``depin-verify run`` would, and once without a name."""
    if setup.broker is None:
        return
    address = parse_broker_url(setup.broker.url)
    where = str(address)
    if not address.tls and not _is_loopback(address.host):
        yield Diagnosis(
            "broker.plain",
            "error",
            "the connection leaves this machine without TLS",
            where,
            "use mqtts:// and --ca",
        )
    try:
        with socket.create_connection((address.host, address.port), timeout=ANSWER_S):
            pass
    except OSError as error:
        hint = "is it running, and is the address right?"
        what = str(error.strerror or error)
        yield Diagnosis("broker.unreachable", "error", what, where, hint)
        return
    context = (setup.broker.tls or TlsOptions()).context() if address.tls else None
    if context is not None:
        found = list(_certificate(address, context))
        yield from found
        if any(item.severity == "error" for item in found):
            return
    card, _ = load_card(setup.workspace.operating / CARD_FILE)
    topic = f"depin/v1/{card.name}/up/+"
    answer = _connect(address, context, setup.broker, topic)
    if answer.refused:
        hint = "look at name, password and certificate, here and at the broker"
        yield Diagnosis("broker.refused", "error", answer.refused, where, hint)
        return
    if not answer.subscribed:
        hint = f"let the aggregator read {topic} and write depin/v1/{card.name}/down/+"
        yield Diagnosis("broker.acl", "error", f"it may not read {topic}", where, hint)
    if not _is_loopback(address.host) or address.username or setup.broker.username:
        yield from _open_to_all(address, context, topic, where)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _certificate(address: BrokerAddress, context: ssl.SSLContext) -> Iterator[Diagnosis]:
    where = str(address)
    try:
        with (
            socket.create_connection((address.host, address.port), timeout=ANSWER_S) as plain,
            context.wrap_socket(plain, server_hostname=address.host) as secured,
        ):
            data = secured.getpeercert(binary_form=True) or b""
    except ssl.SSLCertVerificationError as error:
        hint = "give the authority with --ca; name the host as the certificate does"
        yield Diagnosis("broker.certificate", "error", error.verify_message, where, hint)
        return
    except (ssl.SSLError, OSError) as error:
        hint = "is this a TLS port?"
        yield Diagnosis("broker.tls", "error", str(error), where, hint)
        return
    ends = x509.load_der_x509_certificate(data).not_valid_after_utc
    if ends - datetime.now(UTC) < _SOON:
        what = f"its certificate expires on {ends:%Y-%m-%d}"
        hint = "renew it"
        yield Diagnosis("broker.certificate_expires", "warning", what, where, hint)


@dataclass
class _Answer:
    refused: str = ""
    subscribed: bool = False


def _connect(
    address: BrokerAddress, context: ssl.SSLContext | None, who: Broker | None, topic: str
) -> _Answer:
    """Connect under a name of our own and subscribe; nothing is taken out of the session."""
    answer, done = _Answer("it does not answer"), threading.Event()
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        f"depin-doctor-{secrets.token_hex(6)}",
        protocol=MQTTProtocolVersion.MQTTv5,
        reconnect_on_failure=False,
    )

    def connected(_: Any, __: Any, ___: Any, reason: Any, ____: Any) -> None:
        answer.refused = str(reason) if reason.is_failure else ""
        if reason.is_failure:
            done.set()
        else:
            client.subscribe(topic, qos=0)

    def subscribed(_: Any, __: Any, ___: Any, reasons: Any, ____: Any) -> None:
        answer.subscribed = not any(reason.is_failure for reason in reasons)
        done.set()

    client.on_connect, client.on_subscribe = connected, subscribed
    if context is not None:
        client.tls_set_context(context)
    if who is not None:
        username = who.username or address.username
        if username is not None:
            client.username_pw_set(username, who.password or address.password)
    try:
        client.connect(address.host, address.port, keepalive=30)
    except OSError as error:
        answer.refused = str(error)
        return answer
    client.loop_start()
    try:
        done.wait(ANSWER_S)
    finally:
        client.disconnect()
        client.loop_stop()
    return answer


def _open_to_all(
    address: BrokerAddress, context: ssl.SSLContext | None, topic: str, where: str
) -> Iterator[Diagnosis]:
    anyone = None if context is None else _without_certificate(context)
    found = _connect(address, anyone, None, topic)
    if not found.refused and found.subscribed:
        yield Diagnosis(
            "broker.anonymous",
            "warning",
            f"whoever has no name may read {topic}",
            where,
            "allow_anonymous false, and an access list with one pattern for the fleet",
        )


def _without_certificate(context: ssl.SSLContext) -> ssl.SSLContext:
    """The same trust in the broker, without a certificate of our own."""
    plain = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    plain.minimum_version = ssl.TLSVersion.TLSv1_2
    for data in context.get_ca_certs(binary_form=True):
        plain.load_verify_locations(cadata=data)
    return plain
