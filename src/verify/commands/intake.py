"""``depin-verify run`` and ``ingest``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from depin_id.commands.common import read_passphrase, show
from depin_id.errors import ConfigError
from verify.aggregator import Aggregator
from verify.batch import Summary
from verify.collector import relax
from verify.commands.common import AsJson, Directory, flat, parse_moment, progress
from verify.eventlog import FORMATS, EventLog, Format
from verify.http.api import ApiOptions
from verify.http.front import HttpOptions
from verify.httpd import Limits
from verify.ingest.files import FileSource
from verify.ingest.options import TlsOptions
from verify.listen import Certificate, parse_address
from verify.service import run as serve


def run(
    directory: Directory,
    mqtt: Annotated[
        str | None, typer.Option(help="Broker: mqtt://host[:port], or mqtts:// for TLS.")
    ] = None,
    ca: Annotated[Path | None, typer.Option(help="Authorities (PEM) for mqtts.")] = None,
    cert: Annotated[Path | None, typer.Option(help="Own certificate (PEM), for mTLS.")] = None,
    key: Annotated[Path | None, typer.Option(help="Its key (PEM).")] = None,
    username: Annotated[str | None, typer.Option(help="At the broker.")] = None,
    password_file: Annotated[Path | None, typer.Option(help="Its first line, mode 0600.")] = None,
    http: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Take bundles over HTTP too, or only.")
    ] = None,
    http_cert: Annotated[Path | None, typer.Option(help="Certificate chain (PEM): HTTPS.")] = None,
    http_key: Annotated[Path | None, typer.Option(help="Its key (PEM).")] = None,
    http_rate: Annotated[
        int, typer.Option(min=0, help="Requests a minute of one address; 0 is no limit.")
    ] = ApiOptions.per_minute,
    http_connections: Annotated[
        int, typer.Option(min=1, help="Connections open at once.")
    ] = Limits.connections,
    http_proxy: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS", help="A proxy whose X-Forwarded-For is believed."),
    ] = None,
    metrics: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="/metrics, /livez and /readyz.")
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Let others in without TLS, as behind a proxy.")
    ] = False,
    log_format: Annotated[
        str | None, typer.Option(metavar="text|json", help="One line an event, on stderr.")
    ] = None,
    json_logs: Annotated[bool, typer.Option("--json-logs", help="--log-format json.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No line a batch.")] = False,
) -> None:
    """Take envelopes from an MQTT broker, over HTTP, or both, until stopped (Ctrl-C, SIGTERM).

    Example: depin-verify run agg --mqtt mqtt://127.0.0.1:1883

    Example: depin-verify run agg --http 127.0.0.1:8080 --metrics 127.0.0.1:9464
    """
    log = EventLog(_format(log_format, json_logs), quiet=frozenset(["committed"] if quiet else []))
    tls = None
    if ca is not None or cert is not None:
        tls = TlsOptions(ca_file=ca, cert_file=cert, key_file=key)
    listen = measure = None
    if metrics is not None:
        measure = HttpOptions(*parse_address(metrics), insecure=insecure)
    if http is not None:
        listen = HttpOptions(
            *parse_address(http),
            certificate=_certificate(http_cert, http_key),
            insecure=insecure,
            api=ApiOptions(
                per_minute=http_rate, burst=max(1, http_rate // 5), proxies=tuple(http_proxy or ())
            ),
            limits=Limits(connections=http_connections, per_address=max(1, http_connections // 8)),
        )
    elif http_cert is not None or http_key is not None:
        raise ConfigError("usage", "a certificate without --http", hint="say --http HOST:PORT")
    serve(
        directory,
        mqtt,
        tls=tls,
        username=username,
        password=read_passphrase(password_file),
        http=listen,
        metrics=measure,
        on_event=log,
    )


def _format(name: str | None, json_logs: bool) -> Format:
    if name is None:
        return "json" if json_logs else "text"
    for form in FORMATS:
        if name == form:
            return form
    raise ConfigError("usage", f"{name[:40]!r} is no format of logs", hint="write text or json")


def _certificate(cert: Path | None, key: Path | None) -> Certificate | None:
    if (cert is None) != (key is None):
        raise ConfigError(
            "usage", "only one of certificate and key is given", hint="give both, or neither"
        )
    return None if cert is None or key is None else Certificate(cert, key)


def ingest(
    directory: Directory,
    files: Annotated[
        list[str], typer.Argument(metavar="FILE...", help="Envelopes or bundles; - is stdin.")
    ],
    received_at: Annotated[
        str | None,
        typer.Option(help="Asserted receipt time, if the genesis entry allows it; flagged."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Take envelopes from files.

    Example: depin-verify ingest agg envelopes.cbor --json
    """
    asserted = None if received_at is None else parse_moment(received_at)
    total = Summary()
    with Aggregator(directory) as aggregator, progress("bytes") as report:
        relax()
        source = FileSource(
            files,
            received_at=aggregator.now if asserted is None else asserted,
            progress=report,
        )
        for messages in source.batches():
            summary, _ = aggregator.ingest(messages, asserted_ms=asserted)
            total.add(summary)
    _show(total, as_json)


def _show(total: Summary, as_json: bool) -> None:
    counts = total.to_json()
    if as_json:
        # Programs are promised these six; reports of gateways are in `status --json`.
        del counts["sightings"]
        print(json.dumps(counts))
        return
    show(flat(counts), as_json=False)
