"""A proxy between the system and the emulator of AWS, which can be told what goes wrong on the way."""

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Literal

from tests.faults.calls import Call

LOOPBACK = "127.0.0.1"

FOR_EVER: Final = 1_000_000
"""Calls that a rule is for, where it is for all of them."""

Moment = Literal["before", "after"]
"""Of a call: before AWS has got it, or after it has done what it was asked to and before the caller knows."""

_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "expect"}
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time to linger: closing sends RST, as a dying machine or a firewall does."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    length: str | None = None
    """Content-Length of an answer to HEAD, whose body is never sent."""


class ConnectionCutError(Exception):
    """The connection to the caller is to be reset, after these bytes."""

    def __init__(self, sent_before: bytes = b"") -> None:
        super().__init__()
        self.sent_before = sent_before


Forward = Callable[[Call], Answer]
Effect = Callable[[Call, Forward], Answer]
"""What becomes of a call. It may forward it, answer itself, or raise `ConnectionCutError`."""


@dataclass
class Rule:
    """The next `times` calls that match are dealt with by the effect."""

    matches: Callable[[Call], bool]
    effect: Effect
    times: int = 1
    label: str = ""
    hits: int = 0


@dataclass
class Hold:
    """A call that is held at a moment until it is let go."""

    moment: Moment
    reached: threading.Event = field(default_factory=threading.Event)
    let_go: threading.Event = field(default_factory=threading.Event)
    call: Call | None = None
    calls: list[Call] = field(default_factory=list)
    """All calls that were held."""
    caller_is_dead: bool = False
    """Set by those who have killed it: what it had not said by then is not said."""

    def __call__(self, call: Call, forward: Forward) -> Answer:
        """The answer once the call is let go. A caller that lost patience and calls again is held as well."""
        answer = forward(call) if self.moment == "after" and not self.call else None
        self.call = call
        self.calls.append(call)
        self.reached.set()
        self.let_go.wait()
        if self.caller_is_dead:
            raise ConnectionCutError
        return answer or forward(call)


class FaultProxy:
    """Listens on loopback and forwards to the emulator. Rules may be added and removed while it does."""

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self._copying = threading.Lock()
        self._unanswered: set[int] = set()
        """Calls, by identity, whose callers wait for the answer."""
        self._server = _Server((LOOPBACK, 0), _Handler)
        self._server.proxy = self
        self.calls: set[tuple[str, str]] = set()
        """Service and operation of all calls so far."""
        self.log: list[str] = []
        """What was done to which calls, in order."""
        threading.Thread(target=self._server.serve_forever, name="fault proxy", daemon=True).start()

    @property
    def port(self) -> int:
        return self._server.server_port

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @contextmanager
    def rule(self, rule: Rule) -> Iterator[Rule]:
        """The rule is in force for as long as the block lasts."""
        with self._lock:
            self._rules.append(rule)
        try:
            yield rule
        finally:
            with self._lock:
                self._rules.remove(rule)

    @contextmanager
    def holding(self, matches: Callable[[Call], bool], moment: Moment) -> Iterator[Hold]:
        """Matching calls are held; leaving the block lets them go."""
        hold = Hold(moment)
        try:
            with self.rule(Rule(matches, hold, FOR_EVER, label=f"held {moment}")):
                yield hold
        finally:
            hold.let_go.set()

    @contextmanager
    def being_answered(self, call: Call) -> Iterator[None]:
        """The block ends when the answer to the call is on its way, or the connection is cut."""
        self._unanswered.add(id(call))
        try:
            yield
        finally:
            self._unanswered.discard(id(call))

    def has_answered(self, hold: Hold) -> bool:
        """Whether all calls that were held are answered: what they say lies in the socket of a caller that stalls."""
        return not any(id(call) in self._unanswered for call in hold.calls)

    def dealt_with(self, call: Call, forward: Forward) -> Answer:
        """The answer to the call, by the first rule that is about it."""
        self.calls.add((call.service, call.operation))
        if call.operation == "ReceiveMessage":  # what it is about only its answer says
            answer = forward(call)
            call, forward = replace(call, body=answer.body), lambda _: answer
        with self._lock:
            rule = next((rule for rule in self._rules if rule.hits < rule.times and rule.matches(call)), None)
            if rule:
                rule.hits += 1
                self.log.append(f"{rule.label}: {call.service} {call.operation}")
        answered = partial(self._as_s3_does, forward) if call.operation == "CopyObject" else forward
        return rule.effect(call, answered) if rule else answered(call)

    def _as_s3_does(self, forward: Forward, call: Call) -> Answer:
        """The answer to a CopyObject, whose condition on the target MiniStack 1.5.33 takes no notice of.

        Source: "CopyObject", Amazon S3 API reference.
        """
        if call.headers.get("if-none-match") != "*":
            return forward(call)
        with self._copying:
            return s3_error(412, "PreconditionFailed") if self._target_exists(call) else forward(call)

    def _target_exists(self, copy: Call) -> bool:
        """Whether there is an object at the target of the copy; asked with the key of who copies."""
        upstream = HTTPConnection(LOOPBACK, self.target_port, timeout=60)
        with closing(upstream):
            upstream.request("HEAD", copy.path, headers={"Authorization": copy.headers["authorization"]})
            status = upstream.getresponse().status
        assert status in {HTTPStatus.OK, HTTPStatus.NOT_FOUND}, f"the emulator answers {status} to HEAD {copy.path}"
        return status == HTTPStatus.OK


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256  # a load opens more than a hundred connections at once
    proxy: FaultProxy

    def handle_error(self, *_: object) -> None:
        """Say nothing: callers that are killed break their connections."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    _upstream: HTTPConnection | None = None

    def _deal_with(self) -> None:
        proxy: FaultProxy = self.server.proxy  # type: ignore[attr-defined]
        headers = {name.lower(): value for name, value in self.headers.items()}
        call = Call(self.command, self.path, headers, self._body(), self.client_address[1])
        with proxy.being_answered(call):
            try:
                self._send(proxy.dealt_with(call, self._forward))
            except ConnectionCutError as cut:
                self._cut(cut.sent_before)
            except (OSError, HTTPException):  # the emulator is gone, or the caller
                self._cut(b"")

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_PATCH = _deal_with  # noqa: N815 - the library's names

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _forward(self, call: Call) -> Answer:
        """What the emulator answers. A connection that it has closed meanwhile is opened anew, once."""
        for attempt in (1, 2):
            upstream = self._upstream or self._connect()
            try:
                upstream.putrequest(call.method, call.path, skip_host=True, skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if name.lower() not in _HOP_BY_HOP:
                        upstream.putheader(name, value)
                upstream.putheader("Content-Length", str(len(call.body)))
                upstream.endheaders(call.body)
                answer = upstream.getresponse()
                body = answer.read()
            except (OSError, HTTPException):
                upstream.close()
                self._upstream = None
                if attempt == 2:
                    raise
            else:
                kept = tuple((name, value) for name, value in answer.getheaders() if name.lower() not in _HOP_BY_HOP)
                return Answer(answer.status, kept, body, answer.getheader("Content-Length"))
        raise AssertionError("unreachable")

    def _connect(self) -> HTTPConnection:
        proxy: FaultProxy = self.server.proxy  # type: ignore[attr-defined]
        self._upstream = HTTPConnection(LOOPBACK, proxy.target_port, timeout=60)
        return self._upstream

    def _send(self, answer: Answer) -> None:
        self.wfile.write(as_bytes(answer, head_only=self.command == "HEAD"))

    def _cut(self, sent_before: bytes) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.wfile.write(sent_before)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.connection.close()

    def finish(self) -> None:
        if self._upstream:
            self._upstream.close()
        with suppress(OSError):
            super().finish()

    def log_message(self, *_: object) -> None:
        """Say nothing: every call of every case would be a line."""


def as_bytes(answer: Answer, *, head_only: bool = False) -> bytes:
    """The answer as it goes over the wire."""
    length = (answer.length or "0") if head_only else str(len(answer.body))
    lines = [f"HTTP/1.1 {answer.status} Answer", *(f"{name}: {value}" for name, value in answer.headers)]
    has_body = answer.status not in (100, 204, 304)
    lines += [f"Content-Length: {length}"] if has_body else []
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    return head if head_only or not has_body else head + answer.body


def json_error(status: int, code: str, message: str = "made up by the test") -> Answer:
    """How DynamoDB, SQS and SES say no."""
    body = json.dumps({"__type": f"com.amazonaws#{code}", "message": message}).encode()
    return Answer(status, (("Content-Type", "application/x-amz-json-1.0"), ("x-amzn-ErrorType", code)), body)


def s3_error(status: int, code: str) -> Answer:
    """How S3 says no."""
    body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>made up by the test</Message></Error>'
    return Answer(status, (("Content-Type", "application/xml"),), body.encode())


def refusal(call: Call, status: int, code: str) -> Answer:
    """How the called service says no."""
    return s3_error(status, code) if call.service == "s3" else json_error(status, code)


def part_of_batch(call: Call) -> tuple[Call, dict[str, Any]]:
    """The call with the first half of its items only, and the other half as DynamoDB returns unprocessed items."""
    taken: dict[str, Any] = {}
    left: dict[str, Any] = {}
    for table, requests in call.parameters["RequestItems"].items():
        half = len(requests) // 2
        taken[table], left[table] = requests[:half], requests[half:]
    body = json.dumps(call.parameters | {"RequestItems": taken}).encode()
    return Call(call.method, call.path, call.headers, body, call.client_port), left
