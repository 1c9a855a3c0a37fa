"""How the doctor's tests cause one problem at a time, and what they expect it to find."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders

from deployments.doctor import CheckResult
from tests.support.deployed_system import SharedSessionSystem


@contextmanager
def repaired_by(repair: Callable[[], object]) -> Iterator[None]:
    try:
        yield
    finally:
        repair()


class AnsweringSystem(SharedSessionSystem):
    """A system in which one AWS operation has the given answer, which the emulator cannot produce."""

    def __init__(self, operation: str, status: int, answer: Any, headers: dict[str, str] | None = None) -> None:  # noqa: ANN401 - JSON
        super().__init__()
        self._operation = operation
        self._status, self._headers = status, HTTPHeaders()
        self._content = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
        for name, value in (headers or {}).items():
            self._headers[name] = value

    def client(self, service: Any) -> Any:  # noqa: ANN401 - as the original
        return self._with_answer(super().client(service))

    def client_of(self, block_type: Any, service: Any) -> Any:  # noqa: ANN401 - as the original
        return self._with_answer(super().client_of(block_type, service))

    def _with_answer(self, client: Any) -> Any:  # noqa: ANN401 - boto3's client
        client.meta.events.register(f"before-send.*.{self._operation}", self._answer)
        return client

    def _answer(self, **_: Any) -> AWSResponse:  # noqa: ANN401 - botocore's own
        return AWSResponse("http://aws", self._status, self._headers, Body(self._content))


class Body:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self) -> Iterator[bytes]:
        yield self._content


def assert_problem(result: CheckResult, seen: str, remedy: str) -> None:
    assert ("problem", True, True) == (result.level, seen in result.seen, remedy in result.remedy), str(result)


def assert_warning(result: CheckResult, seen: str, remedy: str) -> None:
    assert ("warning", True, True) == (result.level, seen in result.seen, remedy in result.remedy), str(result)
