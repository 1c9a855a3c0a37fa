"""What to do when a service does not answer, for errors of the libraries that only say that it does not."""

from collections.abc import Iterator

import httpx
from botocore.exceptions import EndpointConnectionError, NoCredentialsError, NoRegionError
from prefect.settings import get_current_settings

_EMBEDDED = 'For the embedded stack: `sensor-ingest up`, and here `eval "$(sensor-ingest env)"`.'


def remedy(error: BaseException) -> str | None:
    """What is wrong and what to do about it, if the error, or one behind it, is of a service out of reach."""
    for each in _with_those_behind(error):
        if isinstance(each, httpx.TransportError) or str(each).startswith("Failed to reach API at"):
            api = get_current_settings().api.url
            return f"No Prefect server answers at PREFECT_API_URL, {api}. Start it, or name another. {_EMBEDDED}"
        if isinstance(each, NoCredentialsError):
            return f"There are no AWS credentials: see `aws configure`, or set AWS_PROFILE. {_EMBEDDED}"
        if isinstance(each, NoRegionError):
            return f"No AWS region is named: set AWS_DEFAULT_REGION. {_EMBEDDED}"
        if isinstance(each, EndpointConnectionError):
            return f"AWS does not answer: {each} Mind AWS_ENDPOINT_URL, the region and the network. {_EMBEDDED}"
    return None


def _with_those_behind(error: BaseException) -> Iterator[BaseException]:
    behind: BaseException | None = error
    while behind is not None:
        yield behind
        behind = behind.__cause__ or behind.__context__
