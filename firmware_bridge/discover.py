"""``depin-bridge discover``: listen at a broker for a while, then propose a configuration."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Annotated

import typer

from depin_id.durable import create_file
from depin_id.errors import ConfigError, TransportError
from firmware_bridge.mqtt import Connection, Message, Session, Subscription
from firmware_bridge.options import MqttOptions
from firmware_bridge.proposal import plain, propose, warnings
from firmware_bridge.recognise import Limits, Recogniser
from firmware_bridge.sources.base import read_text

_STEP = 0.2


class _Listener:
    """Hands what comes to a recogniser."""

    def __init__(self, heard: Recogniser) -> None:
        self.heard = heard
        self.up = threading.Event()

    def on_up(self, session: Session) -> None:
        """Subscribed: the time begins."""
        self.up.set()

    def on_down(self) -> None:
        """It is connected again by itself."""

    def tick(self) -> float:
        """Nothing to do."""
        return 1.0

    def on_message(self, message: Message) -> None:
        """One message."""
        self.heard.take(message.topic, message.payload, retained=message.retain)
        message.done()


def listen(
    options: MqttOptions,
    seconds: float,
    *,
    topics: tuple[str, ...] = ("#",),
    limits: Limits | None = None,
    progress: bool = False,
) -> Recogniser:
    """Listen at a broker for a while.

    Args:
        seconds: from when we are subscribed; also how long we try to be.
        progress: say on standard error how it goes.

    Raises:
        TransportError: ``discover.connection``: the broker could not be listened to.
    """
    heard = Recogniser(limits)
    listener, stop = _Listener(heard), threading.Event()
    # A name of its own, and nothing kept: this must not take over the session of anybody.
    subscription = Subscription(topics, f"depin-discover-{os.urandom(6).hex()}", qos=0)
    connection = Connection(options, subscription, listener)
    thread = threading.Thread(target=connection.run, args=(stop,), name="discover", daemon=True)
    thread.start()
    try:
        if not listener.up.wait(max(seconds, options.connect_timeout)):
            raise TransportError(
                "discover.connection",
                f"{options!r}: {connection.problem or 'no answer'}",
                hint="check address, certificates and password",
            )
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if progress:
                counts = f"{heard.messages} messages, {heard.topics} topics"
                print(f"\r{left:4.0f} s left, {counts} ", end="", file=sys.stderr, flush=True)
            time.sleep(min(_STEP, left))
    finally:
        stop.set()
        connection.wake()
        thread.join(5)
        if progress:
            print(file=sys.stderr)
    return heard


def discover(
    mqtt: Annotated[
        str, typer.Option("--mqtt", metavar="URL", help="mqtts://HOST[:8883] or mqtt://HOST.")
    ],
    seconds: Annotated[float, typer.Option(min=0.1, max=3600, help="How long to listen.")] = 30.0,
    topic: Annotated[
        list[str] | None, typer.Option("--topic", metavar="FILTER", help="Instead of everything.")
    ] = None,
    ca: Annotated[Path | None, typer.Option(help="Who vouches for the broker (PEM).")] = None,
    cert: Annotated[Path | None, typer.Option(help="Our certificate (PEM).")] = None,
    key: Annotated[Path | None, typer.Option(help="Its private key (PEM).")] = None,
    username: Annotated[str | None, typer.Option(help="Our name at the broker.")] = None,
    password_file: Annotated[Path | None, typer.Option(help="A file with the password.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="What was heard, as JSON.")] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write it there.")
    ] = None,
) -> None:
    """Listen at a broker and propose sources for what publishes there.

    Example: depin-bridge discover --mqtt mqtt://127.0.0.1 -o bridge.toml
    """
    if password_file is not None and username is None:
        raise ConfigError("config.url", "there is a password but no name", hint="add --username")
    password = None
    if password_file is not None:
        password = read_text(password_file, limit=4096).rstrip("\r\n")
    options = MqttOptions.from_url(
        mqtt, ca=ca, cert=cert, key=key, username=username, password=password
    )
    heard = listen(options, seconds, topics=tuple(topic or ("#",)), progress=sys.stderr.isatty())
    sources = heard.sources()
    notes = warnings(
        heard,
        exposed=options.exposed,
        secure=options.context is not None,
        named=username is not None or cert is not None,
    )
    credentials = {"url": mqtt}
    for name, value in {"ca": ca, "cert": cert, "key": key, "password_file": password_file}.items():
        if value is not None:
            credentials[name] = str(value.absolute())
    if username is not None:
        credentials["username"] = username
    text = propose(sources, credentials, notes)
    if as_json:
        text = json.dumps(_document(heard, notes, text), indent=2) + "\n"
    if output is None:
        typer.echo(text, nl=False)
        return
    create_file(output, text.encode(), mode=0o600)
    ready = sum(part.ready for part in sources)
    typer.echo(f"{output}: {ready} sources ready, {len(sources) - ready} to be completed")
    for note in notes:
        typer.echo(f"warning: {note}", err=True)


def _document(heard: Recogniser, notes: list[str], text: str) -> dict[str, object]:
    return {
        "messages": heard.messages,
        "topics": heard.topics,
        "warnings": notes,
        "sources": [
            {
                "kind": part.kind,
                "topic": part.topic,
                "ready": part.ready,
                "sensors": sorted(part.sensors),
                "seen": {plain(key): line for key, line in sorted(part.seen.items())},
                "to_declare": sorted(part.todo),
            }
            for part in heard.sources()
        ],
        "toml": text,
    }
