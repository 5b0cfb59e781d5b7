"""A phone or a webhook without MQTT: sign, POST, and believe nothing but the signed reply.

Nothing but the standard library and ``depin-id`` is needed. What was sent is kept until the network
says, signed, what became of it; a status of 200 alone says nothing.

    depin-verify run agg --http 127.0.0.1:8080
    python examples/http_upload.py --url http://127.0.0.1:8080 --card card.cbor --device phone
"""

from __future__ import annotations

import argparse
import time
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path

from depin_id import (
    DepinError,
    Device,
    NetworkCard,
    bundle,
    load_card,
    parse_envelope,
    reading,
    split_bundle,
)

MAX_REPLY = 1 << 20
TIMEOUT_S = 45
MAX_WAIT_S = 60
TRIES = 5


def post(url: str, data: bytes) -> tuple[int, bytes, Message]:
    """POST a bundle; gives status, body and headers, also of refusals."""
    request = urllib.request.Request(
        f"{url}/v1/bundles", data, {"Content-Type": "application/cbor-seq"}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as reply:
            return reply.status, reply.read(MAX_REPLY), reply.headers
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read(MAX_REPLY), refused.headers


def settle(device: Device, card: NetworkCard, reply: bytes, kept: dict[bytes, bytes]) -> None:
    """Drop what the reply acknowledges. Raises DepinError when it is not the network's."""
    # Acknowledgements stand one after the other, as envelopes in a bundle do.
    for data in split_bundle(reply, max_bytes=MAX_REPLY):
        for item in device.take_ack(data, card=card).items:
            if item.final and kept.pop(item.id, None) is not None:
                print(f"{item.id.hex()[:16]}: {item.code}, entry {item.index} of the log")


def upload(device: Device, card: NetworkCard, url: str, kept: dict[bytes, bytes]) -> None:
    """Send what is kept (bytes by id) until it is acknowledged or patience ends."""
    for _ in range(TRIES):
        for data in bundle(kept.values()):
            try:
                status, body, headers = post(url, data)
            except OSError as error:
                print(f"not reached: {error}")
                status, body, headers = 0, b"", Message()
            if status == 200:
                settle(device, card, body, kept)
                continue
            # 403 until the device is enrolled, 429 and 503 when there is too much: all kept.
            print(f"answered {status}: {body.decode(errors='replace').strip()}")
            time.sleep(min(int(headers.get("Retry-After", "1")), MAX_WAIT_S))
        if not kept:
            return


def main(argv: list[str] | None = None) -> None:
    """Sign one reading and upload it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--url", required=True)
    parser.add_argument("--card", type=Path, required=True, help="the network's card")
    parser.add_argument("--network", help="the network's DID, to pin it")
    parser.add_argument("--device", type=Path, required=True, help="a device's folder")
    parser.add_argument("--level", type=float, default=54.2, help="what was measured, dB")
    arguments = parser.parse_args(argv)
    try:
        card, _ = load_card(arguments.card, network=arguments.network)
        with Device.open(arguments.device) as device:
            measured = [reading("laeq", arguments.level, "dB", int(time.time()))]
            envelope = device.sign(measured, network=card.network)
            kept = {parse_envelope(envelope).verify(card.network, device.public_key): envelope}
            upload(device, card, arguments.url, kept)
    except DepinError as error:
        raise SystemExit(f"error: {error}") from error
    if kept:
        raise SystemExit("not acknowledged: keep the envelope and send the same bytes again")


if __name__ == "__main__":
    main()
