"""What a server of the embedded stack answers: its own pages, programs on this machine, and holders of the key.

A page from elsewhere can send requests to loopback, also under a name of its own that is made to lead there (DNS
rebinding). A browser marks what a page sends: `Host` is the name that the page used, `Origin` is where it comes from.
WebSockets have both, and no browser asks the server before it opens one.
"""

import hmac
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final
from urllib.parse import parse_qs

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
"""An ASGI application. Source: asgi.readthedocs.io, specification 3.0."""

OPEN_PATH: Final = "/_ministack/health"
"""Says which services the emulator has; asked before any client has a key."""

_LOOPBACK: Final = re.compile(rb"(?:http://)?(?:127\.0\.0\.1|localhost|\[::1\])(:\d+)?", re.IGNORECASE)
_CREDENTIAL: Final = re.compile(rb"Credential=([^/,\s]+)")
_KEYS_IN_QUERY: Final = (b"X-Amz-Credential", b"AWSAccessKeyId")
"""Parameters of presigned URLs, of signature version 4 and 2."""
_POLICY_VIOLATION: Final = 1008
"""Close code of a WebSocket. Source: RFC 6455, 7.4.1."""


class LocalPagesOnly:
    """ASGI middleware that refuses requests and WebSockets of pages that this server has not served."""

    refusal_format = "{}\n"

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in {"http", "websocket"} and (refusal := self.refusal(scope)):
            await _refuse(scope, send, self.refusal_format.format(refusal))
        else:
            await self._app(scope, receive, send)

    def refusal(self, scope: Scope) -> str | None:
        """Why the request is refused; None if it is let through."""
        headers = dict(scope["headers"])
        host = _LOOPBACK.fullmatch(headers.get(b"host", b""))
        if host is None:
            return "Host does not name this machine's loopback."
        origin = headers.get(b"origin")
        if origin is None:
            return "A page of another site sent this." if _is_sent_by_foreign_page(scope, headers) else None
        # `localhost` and `127.0.0.1` are two origins, and the UI of one uses the API of the other.
        page = _LOOPBACK.fullmatch(origin)
        return None if page and page[1] == host[1] else "Origin is another site."


class KeyHoldersOnly(LocalPagesOnly):
    """As `LocalPagesOnly`, and refuses requests to AWS that are not signed with the stack's access key.

    The key is random and checked in place of the signature, which takes a look at two headers instead of a hash of the
    request. A client has read it in the data directory.
    """

    refusal_format = (
        "<ErrorResponse><Error><Code>InvalidClientTokenId</Code><Message>{}</Message></Error></ErrorResponse>"
    )
    """In the words of AWS. Source: "Common error types" of the AWS documentation."""

    def __init__(self, app: App, access_key: str) -> None:
        super().__init__(app)
        self._key = access_key.encode()

    def refusal(self, scope: Scope) -> str | None:
        """Why the request is refused; None if it is let through."""
        if (refusal := super().refusal(scope)) or scope["path"] == OPEN_PATH:
            return refusal
        if any(hmac.compare_digest(key, self._key) for key in _access_keys(scope)):
            return None
        return "The access key is not that of this stack; `sensor-ingest env` prints it."


def _is_sent_by_foreign_page(scope: Scope, headers: dict[bytes, bytes]) -> bool:
    """Whether a page of another site asks for something, other than by a link that a person follows."""
    if headers.get(b"sec-fetch-site", b"none") in {b"none", b"same-origin"}:
        return False
    follows_link = headers.get(b"sec-fetch-mode") == b"navigate" and headers.get(b"sec-fetch-dest") == b"document"
    return not (follows_link and scope.get("method") == "GET")


def _access_keys(scope: Scope) -> Iterable[bytes]:
    """The access keys in the header, or in the query of a presigned URL."""
    for name, value in scope["headers"]:
        if name == b"authorization":
            return _CREDENTIAL.findall(value)[:1]
    query = parse_qs(scope.get("query_string", b""))
    return [value.partition(b"/")[0] for name in _KEYS_IN_QUERY for value in query.get(name, [])]


async def _refuse(scope: Scope, send: Send, refusal: str) -> None:
    """Answer 403; servers answer so, too, if a WebSocket is closed before it is accepted."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
        return
    body = refusal.encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})
