"""Which Prefect server this process talks to, and what it says to one whose credentials it does not take."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import get_current_settings

from blocks.domain.errors import ApiMissingError, ApiRefusedError


def require_api() -> None:
    """Raises unless a Prefect server is named; without one Prefect starts a temporary one, which knows of nothing.

    Raises:
        ApiMissingError: none is.
    """
    if get_current_settings().api.url is None:
        raise ApiMissingError


@contextmanager
def refusals_explained() -> Iterator[None]:
    """Around calls to the Prefect server.

    Raises:
        ApiRefusedError: it answered 401 to one of them; the text says what to set.
    """
    try:
        yield
    except PrefectHTTPStatusError as error:
        if error.response.status_code != HTTPStatus.UNAUTHORIZED:
            raise
        api = get_current_settings().api
        raise ApiRefusedError(str(api.url), auth_string_is_set=api.auth_string is not None) from error
