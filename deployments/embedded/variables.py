"""Environment variables of an embedded stack: for its users and for its own processes."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import certifi

from blocks.stack_outputs import STACK_NAME
from deployments.embedded.description import StackDescription
from deployments.embedded.processes import DATA_DIR_VARIABLE

REGION: Final = "us-east-1"
_NO_TELEMETRY: Final = {
    # Prefect's server and client send usage statistics unless both are set.
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}
_LOOPBACK: Final = "127.0.0.1,localhost"
_OTHER_SYSTEMS: Final = ("PREFECT_", "AWS_", "PG")
"""Prefixes of variables that name other servers, accounts and databases."""


def stack_environment(
    stack: StackDescription, notify_after_seconds: float, auth_string: str | None = None
) -> dict[str, str]:
    """Variables with which `prefect`, `aws` and `sensor-ingest` use the stack and nothing else."""
    return {
        "PREFECT_API_URL": stack.prefect_api_url,
        # Otherwise settings of the profile in ~/.prefect would apply, such as an API key for Prefect Cloud.
        "PREFECT_HOME": str(stack.data_dir / "prefect"),
        "AWS_ENDPOINT_URL": stack.aws_endpoint_url,
        **_keys(stack.data_dir),
        **({"PREFECT_API_AUTH_STRING": auth_string} if auth_string else {}),
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "SENSOR_INGEST_STACK": STACK_NAME,
        "SENSOR_INGEST_NOTIFY_AFTER_SECONDS": f"{notify_after_seconds:g}",
        **_NO_TELEMETRY,
        **_without_proxy(os.environ),
    }


def child_environment(stack: StackDescription) -> dict[str, str]:
    """Variables of the stack's processes: those of this process without settings of other systems, and the stack's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OTHER_SYSTEMS)}
    return {
        **kept,
        **stack.environment,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        # The Prefect server responds with 500 when PostgreSQL dies; by default clients do not retry after 500.
        "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500",
        # The API is plain HTTP on loopback. By default each client (a run makes several) reads all of certifi's
        # certificates for it, and asks for a CSRF token, which this server does not use.
        "PREFECT_API_SSL_CERT_FILE": str(_one_certificate(stack.data_dir)),
        "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false",
        "TMPDIR": str(stack.data_dir / "tmp"),
        "PYTHONUNBUFFERED": "1",  # a killed process loses no buffered log lines
        DATA_DIR_VARIABLE: str(stack.data_dir),
    }


def _keys(data_dir: Path) -> dict[str, str]:
    """The keys of the last stack in the directory, so that shells that have them can go on; random ones for a new one.

    128 bits each; the emulator takes requests with this access key alone. A stack of an older version had the key
    `test`.
    """
    last = StackDescription.read(data_dir)
    new = {
        "AWS_ACCESS_KEY_ID": f"LOCAL{secrets.token_hex(16).upper()}",
        "AWS_SECRET_ACCESS_KEY": secrets.token_hex(16),
    }
    kept = {name: last.environment.get(name, "") for name in new} if last else {}
    return kept if kept.get("AWS_ACCESS_KEY_ID", "").startswith("LOCAL") else new


def _one_certificate(data_dir: Path) -> Path:
    """A file with one of certifi's certificates: OpenSSL takes none for a mistake."""
    path = data_dir / "certificate.pem"
    if not path.exists():
        bundle = Path(certifi.where()).read_text(encoding="utf-8")
        certificate = bundle[bundle.index("-----BEGIN") :].partition("-----END CERTIFICATE-----")
        path.write_text("".join(certificate[:2]) + "\n", encoding="utf-8")
    return path


def _without_proxy(inherited: Mapping[str, str]) -> dict[str, str]:
    """Variables that exclude loopback from the proxy; empty if no variable names a proxy."""
    if not any(name.lower() in {"http_proxy", "https_proxy", "all_proxy"} for name in inherited):
        return {}
    others = inherited.get("no_proxy") or inherited.get("NO_PROXY")
    return dict.fromkeys(("NO_PROXY", "no_proxy"), f"{others},{_LOOPBACK}" if others else _LOOPBACK)
