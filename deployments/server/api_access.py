"""Checks of the Prefect API settings of this process: the URL is set, the server accepts the credentials."""

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import get_current_settings

from blocks.domain.errors import ApiMissingError, ApiRefusedError


def require_api() -> None:
    """Require PREFECT_API_URL: without it Prefect starts a temporary server, which has no deployments.

    Raises:
        ApiMissingError: PREFECT_API_URL is not set.
    """
    if get_current_settings().api.url is None:
        raise ApiMissingError


@contextmanager
def refusals_explained() -> Iterator[None]:
    """Replace the 401 of a call to the Prefect server by an error that names the setting to change.

    Raises:
        ApiRefusedError: the server answered 401.
    """
    try:
        yield
    except PrefectHTTPStatusError as error:
        if error.response.status_code != HTTPStatus.UNAUTHORIZED:
            raise
        api = get_current_settings().api
        raise ApiRefusedError(str(api.url), auth_string_is_set=api.auth_string is not None) from error
