"""The endpoint and credentials of a boto3 client, so that the fast transport sends as the client would.

Endpoint, region, timeouts and user agent are public. Credentials, CA bundle, client certificate and the proxies that
botocore found in the environment are private: they are read from where botocore 1.43 keeps them. If one of them is not
there, or asks for more than the fast transport supports, the load goes through boto3.
"""

import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.httpsession import get_cert_path

from blocks.dynamodb.signing import Credentials, Signer
from blocks.dynamodb.transports import Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb import DynamoDBClient


class UnsupportedClientError(Exception):
    """The fast transport does not support a setting of the client; the text says which."""


def endpoint_of(client: "DynamoDBClient") -> Endpoint:
    """Where and how the client sends.

    Raises:
        UnsupportedClientError: the fast transport cannot send so.
    """
    config: Any = client.meta.config
    if config.proxies_config:
        raise UnsupportedClientError("its proxies have settings")
    if config.account_id_endpoint_mode == "required":
        raise UnsupportedClientError("its endpoint must be that of the account")
    http: Any = _private(client, "_endpoint", "http_session")
    url = urlsplit(client.meta.endpoint_url)
    proxy = urlsplit(_private(http, "_proxy_config").proxy_url_for(url.geturl()) or "")
    if proxy.scheme == "https":
        raise UnsupportedClientError("its proxy speaks TLS")
    return Endpoint(
        url=url._replace(path=url.path or "/"),
        tls=_tls(http) if url.scheme == "https" else None,
        proxy=proxy if proxy.hostname else None,
        connect_timeout_seconds=config.connect_timeout,
        response_timeout_seconds=config.read_timeout,
    )


def signer_of(client: "DynamoDBClient", endpoint: Endpoint) -> Signer:
    """The signer of requests as the client signs them.

    Raises:
        UnsupportedClientError: the client does not sign with Signature Version 4.
    """
    signer: Any = _private(client, "_request_signer")
    config: Any = client.meta.config
    if signer.signature_version != "v4":
        raise UnsupportedClientError(f"it signs with {signer.signature_version}")
    default = 443 if endpoint.tls else 80
    return Signer(
        host=endpoint.host if endpoint.port == default else f"{endpoint.host}:{endpoint.port}",
        path=endpoint.url.path,
        region=signer.region_name,
        service=signer.signing_name,
        user_agent=config.user_agent,
    )


def credentials_of(client: "DynamoDBClient") -> "Callable[[], Credentials]":
    """A function that returns the current credentials of the client; botocore renews them where it can.

    Raises:
        UnsupportedClientError: the client has none.
    """
    signer: Any = _private(client, "_request_signer")
    auth = signer.get_auth_instance(signing_name=signer.signing_name, region_name=signer.region_name)
    if type(auth) is not SigV4Auth or auth.credentials is None:
        raise UnsupportedClientError("it has no credentials")  # boto3 then raises NoCredentialsError
    credentials: Any = _private(signer, "_credentials")
    current: Callable[[], Credentials] = credentials.get_frozen_credentials
    return current


def _tls(http: Any) -> ssl.SSLContext:  # noqa: ANN401 - botocore's URLLib3Session
    verify = _private(http, "_verify")
    context = ssl.create_default_context(cafile=get_cert_path(verify) if verify else None)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate := _private(http, "_cert_file"):
        context.load_cert_chain(certificate, _private(http, "_key_file"))
    return context


def _private(thing: Any, *names: str) -> Any:  # noqa: ANN401 - botocore's own
    for name in names:
        if not hasattr(thing, name):
            raise UnsupportedClientError(f"botocore has changed: {type(thing).__name__} has no {name}")
        thing = getattr(thing, name)
    return thing
