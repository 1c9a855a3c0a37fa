"""What to do when a service does not answer, for errors of the libraries that only say that it does not."""

from collections.abc import Iterator

import httpx
from botocore.exceptions import (
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    SSOError,
    TokenRetrievalError,
)
from prefect.settings import get_current_settings

_EMBEDDED = 'For the embedded stack: `sensor-ingest up`, and here `eval "$(sensor-ingest env)"`.'


def remedy(error: BaseException) -> str | None:
    """What is wrong and what to do about it, if the error, or one that it was raised from, says that nobody answers."""
    for each in _with_causes(error):
        if isinstance(each, httpx.ConnectError | httpx.ConnectTimeout) or str(each).startswith(
            "Failed to reach API at"
        ):
            api = get_current_settings().api.url
            return f"No Prefect server answers at PREFECT_API_URL, {api}. Start it, or name another. {_EMBEDDED}"
        if isinstance(each, NoCredentialsError):
            return f"There are no AWS credentials: see `aws configure`, or set AWS_PROFILE. {_EMBEDDED}"
        if isinstance(each, SSOError | TokenRetrievalError):
            return f"The AWS sign-in is over: `aws sso login`. {each}"
        if isinstance(each, NoRegionError):
            return f"No AWS region is named: set AWS_DEFAULT_REGION. {_EMBEDDED}"
        if isinstance(each, EndpointConnectionError | ConnectTimeoutError):
            return f"AWS does not answer: {each} Mind AWS_ENDPOINT_URL, the region and the network. {_EMBEDDED}"
    return None


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__
