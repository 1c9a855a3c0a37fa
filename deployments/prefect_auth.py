"""What a Prefect server says to a process whose credentials it does not take, in words that help."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import get_current_settings

from flows.errors import ApiRefusedError


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
