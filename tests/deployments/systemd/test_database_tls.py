"""The address of a database in RDS that the docs show: only a server with its certificate is sent anything."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from tests.support.pages import page

SSL_REQUEST_BYTES = 8
"""Source: "Message Formats" of the PostgreSQL manual."""


def certificate(folder: Path, name: str) -> Path:
    """A file with a key and a certificate for that host, which is its own authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / f"{name}-{signed.serial_number}.pem"
    path.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return path


@asynccontextmanager
async def database(certificate: Path) -> AsyncIterator[tuple[int, list[bytes]]]:
    """The port of a server that offers TLS as PostgreSQL does, and what it is sent once a client trusts it."""
    received: list[bytes] = []
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(SSL_REQUEST_BYTES)
        writer.write(b"S")
        try:
            await writer.start_tls(context)
            received.append(await reader.read(1000))
        except (ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], received


async def sent(url: str, host: str, certificate: Path) -> list[bytes]:
    """What a client with that URL sends to the server, user and password among it."""
    async with database(certificate) as (port, received):
        engine = create_async_engine(url.replace("HOST:5432", f"{host}:{port}"))
        with pytest.raises((OSError, DBAPIError)):  # the server says nothing more
            async with asyncio.timeout(30), engine.connect():
                pass
        await engine.dispose()
    return received


@pytest.fixture
def url() -> str:
    """As the page shows it."""
    found = re.search(r"DATABASE_CONNECTION_URL='(.*)'", page("docs/how-to/run-it-in-aws.md").text)
    assert found
    return found[1]


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A server's certificate that the client has."""
    path = certificate(tmp_path, "localhost")
    monkeypatch.setenv("PGSSLROOTCERT", str(path))
    return path


def test_a_server_with_the_certificate_is_talked_to(url: str, trusted: Path) -> None:
    assert 1 == len(asyncio.run(sent(url, "localhost", trusted)))


def test_a_server_with_another_certificate_is_sent_nothing(url: str, trusted: Path, tmp_path: Path) -> None:
    other = certificate(tmp_path, "localhost")
    assert other != trusted
    assert [] == asyncio.run(sent(url, "localhost", other))


@pytest.mark.usefixtures("trusted")
def test_a_server_of_another_name_is_sent_nothing(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other_name = certificate(tmp_path, "other.example")
    monkeypatch.setenv("PGSSLROOTCERT", str(other_name))
    assert [] == asyncio.run(sent(url, "localhost", other_name))
