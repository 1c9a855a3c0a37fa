"""AWS clients: one session per set of credentials, one client per service.

`AwsCredentials.get_client` of prefect-aws 0.7.12 makes a session for each client: it reads botocore's endpoints again
(45 ms of a core) and assumes the role again. If eight threads ask for their first client at once, it makes eight.

All sessions share what botocore has read of its data files. The warm process has read them for all runs: 90 ms of a
core and 18 MiB for the clients of a run.
"""

from functools import lru_cache
from threading import Lock
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.loaders import Loader, create_loader
from prefect_aws.credentials import AwsCredentials

from blocks.domain.errors import CredentialsInvalidError

_SETTINGS: Final = {
    # botocore waits for 60 s, as long as a lease lasts: a renewal without an answer would be the only one.
    "dynamodb": Config(connect_timeout=5, read_timeout=20),
    # SES cannot recognize a second call. botocore would make up to five, also after a call without an answer.
    "sesv2": Config(retries={"total_max_attempts": 1, "mode": "standard"}),
}
"""Our settings of clients, unless the credentials block has others.

Source: "Using the config file", retries and timeouts, boto3 guide; `claim_seconds` of the ledger.
"""

_LOCK: Final = Lock()
"""Sessions are not thread-safe, clients are. Source: "Low-level clients", boto3 guide."""


def client_of(credentials: AwsCredentials, service: str) -> Any:  # noqa: ANN401 - boto3's stubs overload it for every service
    """The client of the service with these credentials; every call returns the same one.

    Raises:
        CredentialsInvalidError: key or token contain a character that no header may have.
    """
    with _LOCK:
        return _client_of(credentials, service)


def renewed_client(credentials: AwsCredentials, service: str) -> Any:  # noqa: ANN401 - as above
    """A new client with renewed credentials: those of an assumed role expire."""
    return _client(_new_session(credentials), credentials, service)


@lru_cache(maxsize=32)
def _client_of(credentials: AwsCredentials, service: str) -> Any:  # noqa: ANN401 - as above
    return _client(_session_of(credentials), credentials, service)


@lru_cache(maxsize=8)
def _session_of(credentials: AwsCredentials) -> boto3.Session:
    return _new_session(credentials)


def _new_session(credentials: AwsCredentials) -> boto3.Session:
    session = credentials.get_boto3_session()
    of_botocore = session._session  # noqa: SLF001 - decision 34 says what notices if this name goes
    if of_botocore.get_config_variable("data_path") is None:  # else there are data files of the user's
        of_botocore.register_component("data_loader", _loader())
    return session


@lru_cache(maxsize=1)
def _loader() -> Loader:
    """What reads botocore's data files, and keeps them."""
    return create_loader()


def _client(session: boto3.Session, credentials: AwsCredentials, service: str) -> Any:  # noqa: ANN401 - as above
    fixed = session.get_credentials()
    # Others come from AWS. Without this check, http.client shows the token in the error that it raises.
    if type(fixed) is Credentials and not f"{fixed.access_key}{fixed.token or ''}".isprintable():
        raise CredentialsInvalidError
    settings = credentials.aws_client_parameters.get_params_override()
    if credentials.region_name is not None:
        settings["region_name"] = credentials.region_name
    if ours := _SETTINGS.get(service):
        settings["config"] = ours.merge(settings["config"]) if settings.get("config") else ours
    return session.client(service, **settings)  # type: ignore[call-overload] # its names are literals
