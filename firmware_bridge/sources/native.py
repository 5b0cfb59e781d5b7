"""Envelopes that devices signed themselves: from a broker, or from files in a drop folder."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from pydantic import Field

from depin_id.envelope import MAX_BUNDLE, split_bundle
from depin_id.errors import EncodingError, TransportError
from depin_id.network import topics
from depin_id.statements import is_statement
from firmware_bridge.gateway import Emitter
from firmware_bridge.items import NativeEnvelope
from firmware_bridge.mapping import TopicPattern
from firmware_bridge.mqtt import Message
from firmware_bridge.sources.base import BrokerOptions, Context, FilePath, Kind, SourceOptions
from firmware_bridge.sources.broker import BrokerInput


def split(data: bytes, received_at: int) -> list[NativeEnvelope]:
    """The envelopes of one message. Raises EncodingError ``encoding.too_large``."""
    return [NativeEnvelope(part, received_at) for part in split_bundle(data)]


class NativeMqttOptions(BrokerOptions):
    """``kind = "native_mqtt"``: messages are envelopes or bundles of them."""


class NativeMqtt:
    """Envelopes from an MQTT topic; a message is answered when all of it is in the spool.

    Statements go up unchanged. What comes down for devices is published at the same broker, on
    their downlink topics (``depin/v1/<network>/down/<kid>``).
    """

    def __init__(self, options: NativeMqttOptions, context: Context) -> None:
        self._options, self._context = options, context
        self._pattern = TopicPattern(options.topic)
        self._broker = options.options(context)
        self._emit: Emitter | None = None

    def run(self, emit: Emitter, stop: threading.Event) -> None:
        """See :class:`Source`."""
        client_id = f"depin-in-{self._context.kid}-{self._context.name}"

        def take(message: Message) -> None:
            if is_statement(message.payload):
                emit.carrier.state(message.payload)
                message.done()
                return
            try:
                items = split(message.payload, int(self._context.wall()))
            except EncodingError as error:
                emit.refuse(error.code, error.message)
                message.done()
                return
            if not items:
                emit.refuse("envelope.malformed", "an empty message")
            emit(items, message.done, wait=message.qos > 0)

        topic, qos = self._pattern.filter, self._options.qos
        broker = BrokerInput(self._broker, topic, client_id, qos, take)
        name = self._context.card.name
        emit.carrier.listen(lambda kid, data: broker.publish(topics(name, kid)[1], data))
        broker.run(stop, emit.refuse)

    def describe(self) -> list[str]:
        """See :class:`Source`."""
        return [
            f"envelopes and bundles from {self._broker!r}, topic {self._pattern.filter}, "
            f"QoS {self._options.qos}, wrapped as {self._options.level}"
        ]


class NativeFilesOptions(SourceOptions):
    """``kind = "native_files"``: files with envelopes or bundles, moved into place whole."""

    path: FilePath
    every: float = Field(default=1.0, gt=0, le=3600)


class NativeFiles:
    """Envelopes from a file, or from the files of a drop folder.

    A file is moved into ``done`` beside it when all of it is in the spool, into ``refused`` when
    it is over 128 KiB. Names that begin with ``.`` or end in ``.part`` or ``.tmp`` are let be.
    """

    def __init__(self, options: NativeFilesOptions, context: Context) -> None:
        self._options, self._context = options, context
        self._path = context.path(options.path)
        self._under_way: set[Path] = set()

    def run(self, emit: Emitter, stop: threading.Event) -> None:
        """See :class:`Source`."""
        while not stop.is_set():
            for file in self._waiting():
                if stop.is_set():
                    return
                self._take(file, emit)
            stop.wait(self._options.every)

    def describe(self) -> list[str]:
        """See :class:`Source`."""
        what = "files of" if self._path.is_dir() else "file"
        return [f"envelopes and bundles from {what} {self._path}, wrapped as {self._options.level}"]

    def _waiting(self) -> list[Path]:
        if not self._path.is_dir():
            return [self._path] if self._path.is_file() else []
        try:
            names = sorted(os.listdir(self._path))
        except OSError as error:
            raise TransportError("source.file", f"{self._path}: {error.strerror}") from error
        return [
            self._path / name
            for name in names
            if not name.startswith(".")
            and not name.endswith((".part", ".tmp"))
            and (self._path / name).is_file()
            and self._path / name not in self._under_way
        ]

    def _take(self, file: Path, emit: Emitter) -> None:
        if file in self._under_way:
            return
        try:
            with open(file, "rb") as handle:
                data = handle.read(MAX_BUNDLE + 1)
            items = split(data, int(self._context.wall()))
        except OSError as error:
            emit.refuse("source.file", f"{file.name}: {error.strerror}")
            return
        except EncodingError as error:
            emit.refuse(error.code, f"{file.name}: {error.message}")
            self._move(file, "refused", emit)
            return
        self._under_way.add(file)

        def done() -> None:
            self._move(file, "done", emit)
            self._under_way.discard(file)

        if not emit(items, done):
            self._under_way.discard(file)

    def _move(self, file: Path, where: str, emit: Emitter) -> None:
        target = file.parent / where
        try:
            target.mkdir(exist_ok=True)
            os.replace(file, target / file.name)
        except OSError as error:
            # It stays and would be read again for ever: so remember it as taken.
            emit.refuse("source.file", f"{file.name} cannot be moved: {error.strerror}")
            self._under_way.add(file)


KINDS = {
    "native_mqtt": Kind(NativeMqttOptions, NativeMqtt),
    "native_files": Kind(NativeFilesOptions, NativeFiles),
}
