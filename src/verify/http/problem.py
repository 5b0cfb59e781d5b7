"""Errors as small JSON (RFC 9457, problem details) with our stable codes."""

from __future__ import annotations

import json
from collections.abc import Mapping

from starlette.responses import Response

from depin_id.errors import DepinError

MEDIA_TYPE = "application/problem+json"


class Problem(DepinError):
    """A request that is refused.

    Args:
        status: of the HTTP response.
        code, message, hint: as every error has them.
        retry_s: when to try again, whole seconds; 0 when that would not help.
        close: whether the connection ends, because the request was not read to its end.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        hint: str = "",
        retry_s: int = 0,
        close: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code, message, hint=hint)
        self.status = status
        self.headers = dict(headers or {})
        if retry_s:
            self.headers["retry-after"] = str(retry_s)
        if close:
            self.headers["connection"] = "close"

    def response(self) -> Response:
        """The response."""
        body: dict[str, object] = {
            "type": f"urn:depin:error:{self.code}",
            "title": self.message,
            "status": self.status,
            "code": self.code,
        }
        if self.hint:
            body["hint"] = self.hint
        headers = {"cache-control": "no-store", **self.headers}
        return Response(json.dumps(body) + "\n", self.status, headers, MEDIA_TYPE)


def not_found() -> Problem:
    """What is not there."""
    return Problem(404, "http.not_found", "there is nothing at this address")
