"""What a boto3 client knows about the way to DynamoDB, for the fast line to go the same way.

Endpoint, region, timeouts and user agent are public. Credentials, CA bundle, client certificate and the proxies that
botocore found in the environment are not: they are read from where botocore 1.43 keeps them. Whatever is not there, or
asks for more than the fast line can do, has the load go through boto3 itself.
"""

import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.httpsession import get_cert_path

from blocks.dynamodb.connection import Way
from blocks.dynamodb.signing import Keys, Signer

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb import DynamoDBClient


class UnusualClientError(Exception):
    """The client is set up in a way that the fast line does not know; the text says which."""


def way_of(client: "DynamoDBClient") -> Way:
    """Where the client sends, and how.

    Raises:
        UnusualClientError: it goes a way that the fast line cannot go.
    """
    config: Any = client.meta.config
    if config.proxies_config:
        raise UnusualClientError("its proxies have settings of their own")
    if config.account_id_endpoint_mode == "required":
        raise UnusualClientError("its endpoint must be that of the account")
    http: Any = _inside(client, "_endpoint", "http_session")
    url = urlsplit(client.meta.endpoint_url)
    proxy = urlsplit(_inside(http, "_proxy_config").proxy_url_for(url.geturl()) or "")
    if proxy.scheme == "https":
        raise UnusualClientError("its proxy speaks TLS")
    return Way(
        url=url._replace(path=url.path or "/"),
        tls=_tls(http) if url.scheme == "https" else None,
        proxy=proxy if proxy.hostname else None,
        connect_seconds=config.connect_timeout,
        answer_seconds=config.read_timeout,
    )


def signer_of(client: "DynamoDBClient", way: Way) -> Signer:
    """What signs requests as the client would.

    Raises:
        UnusualClientError: it signs in another way than with Signature Version 4, or not at all.
    """
    signer: Any = _inside(client, "_request_signer")
    config: Any = client.meta.config
    if signer.signature_version != "v4":
        raise UnusualClientError(f"it signs with {signer.signature_version}")
    default = 443 if way.tls else 80
    return Signer(
        host=way.host if way.port == default else f"{way.host}:{way.port}",
        path=way.url.path,
        region=signer.region_name,
        service=signer.signing_name,
        user_agent=config.user_agent,
    )


def keys_of(client: "DynamoDBClient") -> "Callable[[], Keys]":
    """A function that has the client's credentials as they are now: botocore renews those that can be renewed.

    Raises:
        UnusualClientError: it has none.
    """
    signer: Any = _inside(client, "_request_signer")
    auth = signer.get_auth_instance(signing_name=signer.signing_name, region_name=signer.region_name)
    if type(auth) is not SigV4Auth or auth.credentials is None:
        raise UnusualClientError("it has no credentials")  # boto3 says it best: NoCredentialsError
    credentials: Any = _inside(signer, "_credentials")
    keys: Callable[[], Keys] = credentials.get_frozen_credentials
    return keys


def _tls(http: Any) -> ssl.SSLContext:  # noqa: ANN401 - botocore's URLLib3Session
    verify = _inside(http, "_verify")
    context = ssl.create_default_context(cafile=get_cert_path(verify) if verify else None)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate := _inside(http, "_cert_file"):
        context.load_cert_chain(certificate, _inside(http, "_key_file"))
    return context


def _inside(thing: Any, *names: str) -> Any:  # noqa: ANN401 - botocore's own
    for name in names:
        if not hasattr(thing, name):
            raise UnusualClientError(f"botocore has changed: {type(thing).__name__} has no {name}")
        thing = getattr(thing, name)
    return thing
