"""The network between simulated processes and the fakes: latency, lost and late calls, and botocore's retries."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    ReadTimeoutError,
)

from tests.simulation.faults import Fault, Faults
from tests.simulation.processes import Process, Thread, current_thread
from tests.simulation.readable import answer_text, call_text
from tests.simulation.scheduler import Scheduler

Handler = Callable[[Mapping[str, Any]], Any]

_RETRIED_STATUS: Final = frozenset({429, 500, 502, 503, 504, 509})
_RETRIED_CODES: Final = frozenset({"TransactionInProgressException", "ProvisionedThroughputExceededException"})
"""What botocore tries again. Source: `_retry.json`, botocore 1.43."""

LONGEST_BACK_OFF: Final = 20.0
"""Source: `retries.exponential`, botocore 1.43."""

LATE_AT_THE_END: Final = 0.2
"""Share of the requests that are late, of those that are on their way when their process is killed or stalled."""

_QUICK_SECONDS: Final = 0.05
"""A refused or reset connection fails at once."""


@dataclass(frozen=True)
class ClientSettings:
    """How the client of a service behaves; the defaults are botocore's."""

    read_timeout: float = 60.0
    attempts: int = 5
    first_back_off: float = 1.0
    """Upper limit of the random pause before the second attempt; it doubles."""
    signature_seconds: float = 300.0
    """How far the time in a signature may be from that of the service.

    Source: "Signature Version 4: request date", AWS IAM user guide: five minutes; S3: fifteen
    ("RequestTimeTooSkewed", error responses, Amazon S3 API reference).
    """


DEFAULTS: Final[Mapping[str, ClientSettings]] = {
    "dynamodb": ClientSettings(attempts=10, first_back_off=0.05, read_timeout=20.0),
    "s3": ClientSettings(signature_seconds=900.0),
    "readings": ClientSettings(attempts=1, read_timeout=20.0),
    "sesv2": ClientSettings(attempts=1),
}
"""Source: `_retry.json`, botocore 1.43: ten attempts for DynamoDB, five for the others; `blocks/aws_clients.py`.

The writer of readings has a transport of its own, which makes one attempt.
"""


class Service(Protocol):
    """What the network asks of the service that a call goes to."""

    @property
    def name(self) -> str: ...

    def error(self, operation: str, code: str, message: str, status: int = 400) -> ClientError:
        """The error that the service answers with."""


class Deferred:
    """An answer that the service gives later."""

    def __init__(self) -> None:
        self._then: Callable[[Any], None] | None = None
        self._resolved = False
        self._result: Any = None

    def resolve(self, result: Any) -> None:  # noqa: ANN401 - whatever a service answers
        """Give the answer: a result, or a `ClientError`."""
        if self._then:
            self._then(result)
        self._resolved, self._result = True, result

    def then(self, action: Callable[[Any], None]) -> None:
        """Call the action with the answer, at once if there is one."""
        self._then = action
        if self._resolved:
            action(self._result)


@dataclass
class Network:
    """Carries calls of simulated processes to services.

    A call that the test itself makes arrives at once and never fails.
    """

    scheduler: Scheduler
    faults: Faults = field(default_factory=Faults)
    settings: dict[str, ClientSettings] = field(default_factory=lambda: dict(DEFAULTS))
    least_latency: float = 0.002
    most_latency: float = 0.05
    caller: Process | None = None
    """The process whose call a service handles now; None if the test itself makes it."""
    direct: bool = False
    """Whether the call must be answered at once, because the test itself makes it."""
    calls: int = 0
    outages: dict[str, tuple[float, float]] = field(default_factory=dict)
    """From when until when a service answers with errors only, by its name."""

    last_arrivals: dict[str, float] = field(default_factory=dict)
    """When the latest request of those sent so far arrives at a service, by its name."""

    def is_out(self, service: str) -> bool:
        """Whether the service answers with errors only."""
        since, until = self.outages.get(service, (0.0, 0.0))
        return since <= self.scheduler.now < until

    def call(self, service: Service, operation: str, parameters: Mapping[str, Any], handler: Handler) -> Any:  # noqa: ANN401 - the answer of any service
        """The answer of the service, after as many attempts as botocore makes.

        Raises:
            ClientError: the service answered with an error.
            BotoCoreError: no attempt was answered.
        """
        thread = current_thread()
        if thread is None:
            return self._at_once(handler, parameters)
        settings = self.settings.get(service.name) or ClientSettings()
        answer = _Attempt(self, thread, service, operation, parameters, handler, settings).made()
        for attempt in range(1, settings.attempts):
            if not _is_retried(answer):
                break
            thread.sleep(
                self.scheduler.random.random() * min(settings.first_back_off * 2 ** (attempt - 1), LONGEST_BACK_OFF)
            )
            answer = _Attempt(self, thread, service, operation, parameters, handler, settings).made()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def latency(self) -> float:
        """Seconds that one way takes; most are short."""
        drawn = self.scheduler.random.random()
        return self.least_latency + self.most_latency * drawn * drawn

    def _at_once(self, handler: Handler, parameters: Mapping[str, Any]) -> Any:  # noqa: ANN401 - as above
        self.caller, self.direct = None, True
        try:
            return handler(parameters)
        finally:
            self.direct = False


@dataclass(slots=True)
class _Attempt:
    """One request on the wire."""

    network: Network
    thread: Thread
    service: Service
    operation: str
    parameters: Mapping[str, Any]
    handler: Handler
    settings: ClientSettings
    ticket: int = 0
    signed_at: float = 0.0
    answered: bool = True
    """Whether its answer comes back."""

    def made(self) -> Any:  # noqa: ANN401 - the answer of any service
        """The answer, or the error that botocore raises without one."""
        network, thread = self.network, self.thread
        process, scheduler = thread.process, network.scheduler
        network.calls += 1
        self.signed_at = scheduler.now  # before a stall, which the signature may not outlive
        fault = network.faults.of_call(scheduler.random) if process.faults else None
        if network.is_out(self.service.name):
            fault = "server error"
        if fault:
            slow = self.settings.read_timeout + LONGEST_BACK_OFF if self.service.name == "dynamodb" else 0
            process.disturbed(scheduler.now + slow)
        if fault == "stalled before":
            process.stall(network.faults.stall_seconds(scheduler.random))
            thread.sleep(0)
        elif fault == "killed before":
            process.kill()
            thread.wait()  # for its end
        self.ticket = thread.ticket()
        if fault is None:
            scheduler.later(network.latency(), self._arrive)
        else:
            self._send_with(fault)
        return thread.wait()

    def _send_with(self, fault: Fault) -> None:
        network, process, scheduler = self.network, self.thread.process, self.network.scheduler
        latency = network.latency()
        match fault:
            case "request lost":
                self._log("request is lost")
                self._fail(sent=False)
                return
            case "answer lost":
                self._log("answer will be lost")
                self._fail()
            case "request late":
                latency = self._lateness()
                self._log(f"is on its way for {latency:.1f} s")
                self._fail()
            case "server error":
                self.answered = False
                scheduler.later(latency * 2, self._answer_with_server_error)
                if scheduler.random.random() < 0.5:  # then nothing was done
                    self._log("is answered with a server error")
                    return
                self._log("is done but answered with a server error")
            case "stalled during":
                latency = self._maybe_late(latency)
                scheduler.later(scheduler.random.random() * latency, process.stall, self._stall_seconds())
                if latency > self.settings.read_timeout:
                    timed_out = ReadTimeoutError(endpoint_url=self.service.name)
                    scheduler.later(self.settings.read_timeout, self._end_without_answer, timed_out)
            case "killed during":
                before_the_answer = latency + network.least_latency
                scheduler.later(scheduler.random.random() * before_the_answer, process.kill)
                latency = self._maybe_late(latency)
            case _:
                pass
        arrivals, name = network.last_arrivals, self.service.name
        arrivals[name] = max(arrivals.get(name, 0.0), scheduler.now + latency)
        scheduler.later(latency, self._arrive)

    def _fail(self, *, sent: bool = True) -> None:
        """No answer comes: the connection breaks soon, or the client waits for its read timeout."""
        self.answered = False
        if self.network.scheduler.random.random() < 0.5:
            error: BotoCoreError = ReadTimeoutError(endpoint_url=self.service.name)
            after = self.settings.read_timeout
        else:
            # Without a connection, the request has certainly not been sent, and product code may rely on that.
            kind = ConnectionClosedError if sent else EndpointConnectionError
            error, after = kind(endpoint_url=self.service.name, error="simulated"), _QUICK_SECONDS
        self.network.scheduler.later(after, self._end_without_answer, error)

    def _end_without_answer(self, error: Exception) -> None:
        self._log(f"no answer after {self.network.scheduler.now - self.signed_at:.1f} s: {type(error).__name__}")
        self.thread.wake(self.ticket, error)

    def _answer_with_server_error(self) -> None:
        error = self.service.error(self.operation, "InternalServerError", "simulated", 500)
        self.thread.wake(self.ticket, error)

    def _maybe_late(self, latency: float) -> float:
        """What stops a process may also stop what it has sent: its machine loses the network, for example."""
        late = self.network.scheduler.random.random() < LATE_AT_THE_END
        return self._lateness() if late else latency

    def _lateness(self) -> float:
        """How late the request arrives: up to when its signature is no longer valid, and a little after that."""
        random = self.network.scheduler.random
        longest = 1.2 * max(self.settings.signature_seconds + self.thread.process.skew, 10)
        return float(random.choice((random.uniform(0.1, 5), random.uniform(5, 90), random.uniform(0, longest))))

    def _stall_seconds(self) -> float:
        return self.network.faults.stall_seconds(self.network.scheduler.random)

    def _arrive(self) -> None:
        """The request arrives: the service does what it asks for."""
        network, process = self.network, self.thread.process
        off = self.signed_at + process.skew - network.scheduler.now
        if abs(off) > self.settings.signature_seconds:
            self._log(f"is refused: its signature is {off:+.0f} s off")
            code = "RequestTimeTooSkewed" if self.service.name == "s3" else "InvalidSignatureException"
            return self._answer(
                self.service.error(self.operation, code, "Signature expired", 403 if self.service.name == "s3" else 400)
            )
        network.caller = process
        try:
            answer = self.handler(self.parameters)
        except ClientError as error:
            answer = error
        if isinstance(answer, Deferred):
            answer.then(self._answer)
        else:
            self._answer(answer)
        return None

    def _answer(self, answer: Any) -> None:  # noqa: ANN401 - as above
        network, age = self.network, self.network.scheduler.now - self.signed_at
        log = network.scheduler.log
        log(str(self.thread), _described, self.service.name, self.operation, self.parameters, answer, age)
        if self.answered:
            network.scheduler.later(network.latency(), self.thread.wake, self.ticket, answer)

    def _log(self, text: str) -> None:
        log = self.network.scheduler.log
        log(str(self.thread), _noted, self.service.name, self.operation, self.parameters, text)


def _is_retried(answer: object) -> bool:
    if isinstance(answer, ClientError):
        code, status = answer.response["Error"]["Code"], answer.response["ResponseMetadata"]["HTTPStatusCode"]
        return status in _RETRIED_STATUS or code in _RETRIED_CODES
    return isinstance(answer, BotoCoreError)


def _described(service: str, operation: str, parameters: Mapping[str, Any], answer: object, age: float) -> str:
    late = f"(sent {age:.1f} s ago) " if age > 1 else ""
    return f"{late}{service}.{operation} {call_text(parameters)} -> {answer_text(answer)}"


def _noted(service: str, operation: str, parameters: Mapping[str, Any], text: str) -> str:
    return f"! {service}.{operation} {call_text(parameters)}: {text}"
