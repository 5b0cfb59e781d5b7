"""The listeners of a running aggregator: when they begin, and in which order they end."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.types import ASGIApp

from depin_id.closing import Closing
from verify.aggregator import wall_clock
from verify.http.api import Api, ApiOptions
from verify.http.health import Health
from verify.http.limits import OnEvent
from verify.httpd import HttpServer, Limits
from verify.ingest.http import RequestSource
from verify.ingest.inbox import Inbox
from verify.ingest.mqtt import MqttSource
from verify.listen import Certificate, check_exposure
from verify.metrics import Metrics, states
from verify.watch import Watched


@dataclass(frozen=True)
class HttpOptions:
    """Where and how to listen for requests.

    Attributes:
        host, port: where; port 0 takes a free one.
        certificate: for TLS; without it only this machine may ask, unless ``insecure``.
        insecure: whether others may ask without TLS, as behind a proxy that ends it.
        api, limits: bounds.
    """

    host: str
    port: int
    certificate: Certificate | None = None
    insecure: bool = False
    api: ApiOptions = field(default_factory=ApiOptions)
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        check_exposure(self.host, self.certificate, insecure=self.insecure)


class Front(Closing):
    """The listeners of a running aggregator.

    Args:
        watched, source, inbox, metrics: of the aggregator. on_event: for logs.
    """

    def __init__(
        self,
        watched: Watched,
        source: RequestSource,
        inbox: Inbox,
        metrics: Metrics,
        on_event: OnEvent,
    ) -> None:
        self._watched, self._source, self._inbox = watched, source, inbox
        self._metrics, self._on_event = metrics, on_event
        self._api: Api | None = None
        self._servers: list[HttpServer] = []
        self._stopping = False
        metrics.watch(states(watched.root, lambda: watched.standing, inbox, self._connections))

    def listen(self, options: HttpOptions) -> HttpServer:
        """Take requests. Raises TransportError."""
        api = self._api = Api(
            self._source,
            self._watched,
            options=options.api,
            clock=wall_clock,
            on_answer=self._metrics.on_answer,
            on_event=self._on_event,
        )
        return self._serve("api", api.app, options)

    def measure(self, options: HttpOptions, broker: MqttSource | None) -> HttpServer:
        """Answer for metrics and health. Raises TransportError."""

        def informed() -> dict[str, object]:
            return {} if broker is None else {"broker_connected": broker.connected}

        health = Health(
            self._watched,
            self._metrics,
            stopping=lambda: self._stopping,
            listening=lambda: all(server.alive for server in self._servers),
            informed=informed,
            on_event=self._on_event,
        )
        return self._serve("metrics", health.app, options)

    def close(self) -> None:
        """Answer all that wait, end the listeners. Safe to call twice."""
        self._stopping = True
        if self._api is not None:
            self._api.stop()
        for server in self._servers:
            server.stop()
        if self._api is not None:
            self._api.close()

    def _serve(self, name: str, app: ASGIApp, options: HttpOptions) -> HttpServer:
        server = HttpServer(
            app,
            options.host,
            options.port,
            name=name,
            certificate=options.certificate,
            limits=options.limits,
            exempt=options.api.proxies,
            on_event=self._on_event,
        )
        self._servers.append(server)
        server.start()
        return server

    def _connections(self) -> int:
        return sum(server.connections for server in self._servers if server.name == "api")
