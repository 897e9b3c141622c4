"""What every request must pass before anything else happens, and what every answer carries."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlencode

COOKIE = "mscmreid_token"
HEADER = b"x-mscmreid"
"""A header that requests which change or compute something must have. Another site's page cannot send it: a browser
asks this server first, which does not allow it."""
SECURITY = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def host_name(header: str) -> str:
    """The name in a Host header, without its port."""
    name, bracket, _ = header.partition("]")
    return (name + bracket if bracket else header.partition(":")[0]).lower()


def is_address(name: str) -> bool:
    """Whether a host is a numeric address: ``10.0.0.7``, ``[fe80::1]``."""
    try:
        version = ipaddress.ip_address(name.removeprefix("[").removesuffix("]")).version
    except ValueError:
        return False
    return (version == 6) == name.startswith("[")


class Guard:
    """ASGI middleware: known host, token, own header on POST, no body that is said to be too long; security headers.

    Args:
        app: what follows.
        hosts: names under which the page may be asked for, so that no other name can be pointed at this machine (DNS
            rebinding). With a token every numeric address as well: no name server can point that elsewhere.
        token: what a visitor must bring once, as ``?token=``, and then as a cookie; None: nobody is asked.
        max_bytes: of a request's body, by what its header says; who reads it must count as well.
    """

    def __init__(self, app: Any, hosts: Iterable[str], token: str | None, max_bytes: int) -> None:
        self.app, self.token, self.max_bytes = app, token, max_bytes
        self.hosts = {name.lower() for name in hosts}

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        """One request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}

        async def send_with_headers(message: dict) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message["headers"]}
                more = [(k.encode(), v.encode()) for k, v in SECURITY.items() if k.encode() not in present]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        status, text, more = self._refusal(scope, headers)
        if status:
            await _answer(send_with_headers, status, text, more)
            return
        await self.app(scope, receive, send_with_headers)

    def _too_large(self) -> str:
        return f"at most {self.max_bytes / 1e6:.0f} MB are taken"

    def _refusal(self, scope: dict, headers: dict[bytes, bytes]) -> tuple[int, str, dict[str, str]]:
        """(status, text, headers) of a request that goes no further; status 0: it goes on."""
        host = host_name(headers.get(b"host", b"").decode("latin-1"))
        if host not in self.hosts and not (self.token and is_address(host)):
            return 421, "this page is not known under that name", {}
        if self.token:
            given = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])
            if scope["path"] == "/" and self._is_token(given[0]):
                query = parse_qs(scope["query_string"].decode("latin-1"))
                query.pop("token")
                place = "/" + (f"?{urlencode(query, doseq=True)}" if query else "")
                cookie = f"{COOKIE}={self.token}; Path=/; HttpOnly; SameSite=Strict"
                return 303, "", {"location": place, "set-cookie": cookie}
            if not self._is_token(_cookie(headers.get(b"cookie", b"").decode("latin-1"))):
                return 401, "open the address with the token that the command printed", {}
        if scope["method"] not in ("GET", "HEAD") and headers.get(HEADER) != b"1":
            return 403, "this must come from the page itself", {}
        length = headers.get(b"content-length", b"0")
        if not length.isdigit():
            return 400, "content-length is a number", {}
        if len(length) > 15 or int(length) > self.max_bytes:
            return 413, self._too_large(), {"connection": "close"}
        return 0, "", {}

    def _is_token(self, given: str) -> bool:
        return secrets.compare_digest(given.encode("utf-8", "replace"), (self.token or "").encode())


def _cookie(header: str) -> str:
    try:
        morsel = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel else ""


async def _answer(send: Any, status: int, text: str, headers: dict[str, str]) -> None:
    body = text.encode()
    more = {"content-type": "text/plain; charset=utf-8", "content-length": str(len(body)), **headers}
    start = [(name.encode(), value.encode()) for name, value in more.items()]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})
