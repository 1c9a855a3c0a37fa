"""What all fakes of AWS services share: the client that product code gets, answers, and errors as botocore's."""

from collections.abc import Callable, Iterator, Mapping
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Any, ClassVar, TypeVar

from botocore.exceptions import ClientError
from botocore.session import Session

from tests.simulation.network import Deferred, Network
from tests.simulation.scheduler import START

T = TypeVar("T")


class UnsupportedCallError(TypeError):
    """The fake does not know a method or a parameter that the product uses now: teach it, and its comparison."""


class FakeService:
    """Base of the fakes: each public method handles the call of that name.

    A handler runs when the request arrives, and returns the answer, or a `Deferred` for one that takes time.
    """

    name: ClassVar[str]
    api: ClassVar[str] = ""
    """What botocore calls the service, if that is another name."""
    client_class: "ClassVar[type[Client]]"
    parameters: ClassVar[Mapping[str, frozenset[str]]]
    """The parameters that each method knows."""
    paginated: ClassVar[Mapping[str, tuple[str, str]]] = {}
    """Methods with pages: the parameter and the field of the answer that lead to the next page."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.scheduler = network.scheduler
        self.random = network.scheduler.random
        self.client = self.client_class(self)
        self._requests = 0

    def prepared(self, _operation: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """The parameters as all attempts of a call send them."""
        return parameters

    def answer(self, status: int = HTTPStatus.OK, /, **content: Any) -> dict[str, Any]:  # noqa: ANN401 - any content
        """An answer, with the metadata that botocore adds."""
        content["ResponseMetadata"] = self._metadata(status)
        return content

    def error(
        self,
        operation: str,
        code: str,
        message: str,
        status: int = HTTPStatus.BAD_REQUEST,
        kind: str = "",
        **more: Any,  # noqa: ANN401 - further members of the error
    ) -> ClientError:
        """The error of the class that botocore raises for this code, or for `kind` where a service has another name."""
        response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": self._metadata(status), **more}
        name = "".join(word[0].upper() + word[1:] for word in operation.split("_"))
        return _real_client(self.api or self.name).exceptions.from_code(kind or code)(response, name)  # type: ignore[no-any-return]

    def after(self, seconds: float, action: Callable[[], T]) -> T | Deferred:
        """What the action returns after that time; at once if the test itself makes the call."""
        if self.network.direct or seconds <= 0:
            return action()
        deferred = Deferred()
        self.scheduler.later(seconds, self._resolve, deferred, action)
        return deferred

    @staticmethod
    def _resolve(deferred: Deferred, action: Callable[[], object]) -> None:
        try:
            result = action()
        except ClientError as error:
            deferred.resolve(error)
            return
        if isinstance(result, Deferred):  # it takes longer
            result.then(deferred.resolve)
        else:
            deferred.resolve(result)

    def _metadata(self, status: int) -> dict[str, Any]:
        self._requests += 1
        return {
            "RequestId": f"request-{self._requests}",
            "HTTPStatusCode": int(status),
            "HTTPHeaders": {"date": _date(int(self.scheduler.now))},
            "RetryAttempts": 0,
        }


class Client:
    """A client as boto3 makes it, for all processes of a simulation."""

    def __init__(self, service: FakeService) -> None:
        self._service = service
        self.exceptions = _real_client(service.api or service.name).exceptions

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        service = self._service
        known = service.parameters.get(operation)
        if known is None:
            raise UnsupportedCallError(f"{service.name}.{operation}")
        handler = getattr(service, operation)
        call, prepared = service.network.call, service.prepared

        def invoke(**parameters: Any) -> Any:  # noqa: ANN401 - as boto3's methods
            if not known.issuperset(parameters):
                raise UnsupportedCallError(f"{service.name}.{operation}: {sorted(parameters.keys() - known)}")
            return call(service, operation, prepared(operation, parameters), handler)

        self.__dict__[operation] = invoke
        return invoke

    def get_paginator(self, operation: str) -> "Paginator":
        return Paginator(getattr(self, operation), *self._service.paginated[operation])


class Paginator:
    """The pages of a list, each read when it is asked for."""

    def __init__(self, call: Callable[..., Any], parameter: str, following: str) -> None:
        self._call = call
        self._parameter = parameter
        self._following = following

    def paginate(self, **parameters: Any) -> Iterator[Any]:  # noqa: ANN401 - as boto3's
        while True:
            page = self._call(**parameters)
            yield page
            if self._following not in page:
                return
            parameters[self._parameter] = page[self._following]


FakeService.client_class = Client


@lru_cache
def _real_client(service: str) -> Any:  # noqa: ANN401 - boto3's stubs have a type for each service
    """A client of botocore that makes no call: it has the classes of the errors."""
    session = Session()
    session.set_credentials("simulated", "simulated")
    return session.create_client(service, region_name="eu-central-1")


@lru_cache(maxsize=4096)
def _date(seconds: int) -> str:
    """The header `Date`: whole seconds, cut off."""
    return formatdate(START.timestamp() + seconds, usegmt=True)
