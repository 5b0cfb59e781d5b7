"""Where the fetcher may go: ``https`` addresses in one plain spelling, public IP addresses only.

A resolver that others can send to addresses of their choice is a way into the network it stands in
(server-side request forgery): every spelling of an address that readers disagree about is refused,
whatever it would mean.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final, NoReturn

from depin_id.errors import FetchError

MAX_URL: Final = 2048
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST: Final = re.compile(rf"(?:{_LABEL}\.)+{_LABEL}", re.ASCII)
_NUMBER: Final = re.compile(r"\d+|0x[0-9a-f]*", re.ASCII)
_SPLIT: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)(?:\?([^#]*))?", re.ASCII)
_PATH: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*", re.ASCII)
_QUERY: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*", re.ASCII)
_HIDDEN: Final = re.compile(r"%(?:2[ef]|5c|0[0-9a-f]|1[0-9a-f]|7f)", re.ASCII | re.IGNORECASE)
"""Percent-encoded dots, slashes, backslashes, control characters: paths that mean another."""
_LOCAL: Final = (
    "localhost",
    "local",
    "internal",
    "intranet",
    "lan",
    "home",
    "corp",
    "arpa",
    "onion",
)
"""Top-level names that stand for machines nearby, or for none."""

_REFUSED_4: Final = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "168.63.129.16/32",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/3",
        ),
    )
)
"""Special purpose (IANA), and the one address that is each Azure machine's own host."""
_GLOBAL_6: Final = ipaddress.IPv6Network("2000::/3")
"""All that is given out for unicast: loopback, mapped, NAT64, unique local, link-local and
multicast addresses lie outside."""
_REFUSED_6: Final = tuple(
    map(
        ipaddress.IPv6Network,
        ("2001::/23", "2001:db8::/32", "2002::/16", "3ffe::/16", "3fff::/20"),
    )
)
"""Within it: protocol assignments with Teredo, 6to4 (both carry IPv4 addresses), examples."""


def _refuse(code: str, message: str, hint: str = "") -> NoReturn:
    raise FetchError(code, message, hint=hint or "only plain https addresses of public hosts")


@dataclass(frozen=True, slots=True)
class WebUrl:
    """An ``https`` address that was checked. Make one with :func:`parse_web_url`.

    Attributes:
        host: a name in lower case, never an IP address.
        port: 443 unless named.
        path: begins with a slash.
        query: without question mark, None when absent.
    """

    host: str
    port: int
    path: str
    query: str | None = None

    @property
    def target(self) -> str:
        """What the request line names."""
        return self.path if self.query is None else f"{self.path}?{self.query}"

    @property
    def authority(self) -> str:
        """Host, and port where it is not 443."""
        return self.host if self.port == 443 else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"https://{self.authority}{self.target}"


def check_host(host: str) -> str:
    """A host name in lower case.

    Raises:
        FetchError: ``fetch.host``: percent-encoded, one label, of a name for machines nearby, or
            not a name; ``fetch.literal``: an IP address in any spelling (dotted, decimal, octal,
            hexadecimal, bracketed).
    """
    name = host.lower()
    last = name.rpartition(".")[2]
    if "[" in name or "]" in name or name.count(":") or _NUMBER.fullmatch(last):
        _refuse("fetch.literal", f"{host[:60]!r} is an IP address", "name the host")
    if len(name) > 253 or not host.isascii() or _HOST.fullmatch(name) is None:
        _refuse("fetch.host", f"{host[:60]!r} is not the plain name of a public host")
    if last in _LOCAL:
        _refuse("fetch.host", f"names that end in .{last} are not public")
    return name


def check_port(text: str) -> int:
    """A port number in one spelling. Raises FetchError ``fetch.port``."""
    if re.fullmatch(r"[1-9]\d{0,4}", text, re.ASCII) is None or int(text) > 65535:
        _refuse("fetch.port", f"{text[:20]!r} is not a port")
    return int(text)


def check_path(path: str) -> str:
    """A path that means just what it says. Raises FetchError ``fetch.path``."""
    segments = path.split("/")
    if not path.startswith("/") or _PATH.fullmatch(path) is None:
        _refuse("fetch.path", f"{path[:60]!r} is not a path")
    if "." in segments or ".." in segments or "" in segments[1:-1] or _HIDDEN.search(path):
        _refuse("fetch.path", f"{path[:60]!r} leads elsewhere than it seems to")
    return path


def parse_web_url(text: str) -> WebUrl:
    """Check an address before anything is looked up.

    Raises:
        FetchError: ``fetch.url``, ``fetch.scheme``, ``fetch.userinfo``, ``fetch.host``,
            ``fetch.literal``, ``fetch.port``, ``fetch.path``.
    """
    if type(text) is not str or len(text) > MAX_URL:
        _refuse("fetch.url", f"not an address of at most {MAX_URL} characters")
    match = _SPLIT.fullmatch(text)
    if match is None:
        _refuse("fetch.url", f"{text[:60]!r} is not an https address without fragment")
    scheme, authority, path, query = match.groups()
    if scheme.lower() != "https":
        _refuse("fetch.scheme", f"{scheme[:20]} is not https")
    if "@" in authority:
        _refuse("fetch.userinfo", "an address may not carry a user name")
    host, colon, port = authority.partition(":")
    if "[" in authority:
        host, colon = authority, ""
    name = check_host(host)
    if query is not None and _QUERY.fullmatch(query) is None:
        _refuse("fetch.url", "the query holds characters that do not belong there")
    return WebUrl(name, check_port(port) if colon else 443, check_path(path or "/"), query)


def check_address(text: str) -> str:
    """An IP address that is public, as the system's resolver gave it.

    Raises:
        FetchError: ``fetch.address``: private, loopback, link-local, shared (CGNAT), multicast,
            unspecified, reserved, for examples, or an IPv6 address that carries an IPv4 address
            (mapped, NAT64, 6to4, Teredo).
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        _refuse("fetch.address", f"{text[:60]!r} is not an IP address")
    if isinstance(address, ipaddress.IPv4Address):
        refused = any(address in network for network in _REFUSED_4)
    else:
        refused = (
            address.scope_id is not None
            or address not in _GLOBAL_6
            or any(address in network for network in _REFUSED_6)
        )
    if refused:
        _refuse("fetch.address", f"{address} is not a public address")
    return str(address)
