"""A small S3-compatible server on loopback: it checks every signature (SigV4) and every digest."""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.sax.saxutils import escape

ACCESS, SECRET, REGION = "AKIDEXAMPLE", "a-secret-of-the-test", "eu-test-1"


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


@dataclass
class Store:
    """What the server holds.

    Attributes:
        objects: by ``bucket/key``. uploads: parts of multipart uploads.
        requests: method and path of each. refused: requests whose signature was wrong.
        damage: called with what is read; gives what is sent.
    """

    objects: dict[str, bytes] = field(default_factory=dict)
    uploads: dict[str, dict[int, bytes]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    refused: int = 0
    damage: Any = None
    url: str = ""


def _signed(handler: BaseHTTPRequestHandler, body: bytes) -> bool:
    """Whether the request is signed by the account (AWS Signature Version 4)."""
    headers = handler.headers
    scheme, _, rest = headers.get("authorization", "").partition(" ")
    fields = dict(part.strip().split("=", 1) for part in rest.split(",") if "=" in part)
    if scheme != "AWS4-HMAC-SHA256":
        return False
    access, day, region, service, ending = fields["Credential"].split("/")
    if (access, region, service) != (ACCESS, REGION, "s3"):
        return False
    claimed = headers.get("x-amz-content-sha256", "")
    if claimed != "UNSIGNED-PAYLOAD" and claimed != hashlib.sha256(body).hexdigest():
        return False
    parts = urlsplit(handler.path)
    query = sorted(parse_qsl(parts.query, keep_blank_values=True))
    names = fields["SignedHeaders"].split(";")
    request = "\n".join(
        [
            handler.command,
            quote(unquote(parts.path), safe="/-_.~"),
            "&".join(f"{quote(k, safe='-_.~')}={quote(v, safe='-_.~')}" for k, v in query),
            *(f"{name}:{' '.join(headers.get(name, '').split())}" for name in names),
            "",
            ";".join(names),
            claimed,
        ]
    )
    scope = f"{day}/{region}/{service}/{ending}"
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{headers['x-amz-date']}\n{scope}\n{digest}"
    key = _hmac(f"AWS4{SECRET}".encode(), day)
    for part in (region, service, ending):
        key = _hmac(key, part)
    return hmac.compare_digest(_hmac(key, text).hex(), fields["Signature"])


def _handler(store: Store) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def _fail(self, status: int, code: str) -> None:
            text = f"<Error><Code>{code}</Code><AWSAccessKeyId>{ACCESS}</AWSAccessKeyId></Error>"
            self._answer(status, text.encode())

        def _take(self) -> tuple[str, dict[str, str], bytes] | None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            parts = urlsplit(self.path)
            store.requests.append(f"{self.command} {self.path}")
            if not _signed(self, body):
                store.refused += 1
                self._fail(403, "SignatureDoesNotMatch")
                return None
            query = dict(parse_qsl(parts.query, keep_blank_values=True))
            return unquote(parts.path).lstrip("/"), query, body

        def do_PUT(self) -> None:
            taken = self._take()
            if taken is None:
                return
            key, query, body = taken
            if key.startswith("nobucket/"):
                self._fail(404, "NoSuchBucket")
                return
            if "uploadId" in query:
                store.uploads[query["uploadId"]][int(query["partNumber"])] = body
            else:
                store.objects[key] = body
            self._answer(200, etag=f'"{hashlib.md5(body).hexdigest()}"')

        def do_POST(self) -> None:
            taken = self._take()
            if taken is None:
                return
            key, query, _ = taken
            if "uploads" in query:
                name = f"upload-{len(store.uploads)}"
                store.uploads[name] = {}
                body = f"<InitiateMultipartUploadResult><UploadId>{name}</UploadId>"
                self._answer(200, f"{body}</InitiateMultipartUploadResult>".encode())
                return
            parts = store.uploads.pop(query["uploadId"])
            store.objects[key] = b"".join(parts[number] for number in sorted(parts))
            name = escape(key)
            body = f"<CompleteMultipartUploadResult><Key>{name}</Key><ETag>&quot;x&quot;</ETag>"
            self._answer(200, f"{body}</CompleteMultipartUploadResult>".encode())

        def do_GET(self) -> None:
            taken = self._take()
            if taken is None:
                return
            data = store.objects.get(taken[0])
            if data is None:
                self._fail(404, "NoSuchKey")
                return
            sent = data if store.damage is None else store.damage(data)
            when = "Wed, 21 Oct 2015 07:28:00 GMT"
            self._answer(200, sent, etag='"x"', last_modified=when)

        do_HEAD = do_GET

    return Handler


@contextmanager
def s3_server() -> Iterator[Store]:
    """A server on a free port of loopback; one account, any bucket."""
    store = Store()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(store))
    server.daemon_threads = True
    store.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
