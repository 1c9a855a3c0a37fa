"""The environment variables of an embedded stack: for those who talk to it, and for its own processes."""

import os
from collections.abc import Mapping
from typing import Final

from blocks.stack_outputs import STACK_NAME
from deployments.embedded.description import StackDescription
from deployments.embedded.processes import MARK

REGION: Final = "us-east-1"
KEY: Final = "test"
"""Access key and secret; the emulator takes any."""

_NOBODYS_BUSINESS: Final = {
    # Prefect's server and client send usage statistics unless both are set.
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
}
_LOOPBACK: Final = "127.0.0.1,localhost"
_FOREIGN: Final = ("PREFECT_", "AWS_", "PG")


def stack_environment(stack: StackDescription, notify_after_seconds: float) -> dict[str, str]:
    """What points `prefect`, `aws` and `sensor-ingest` at the stack, and at nothing else."""
    return {
        "PREFECT_API_URL": stack.prefect_api_url,
        # Otherwise the profile in ~/.prefect would be mixed in: an API key, say, or headers for Prefect Cloud.
        "PREFECT_HOME": str(stack.data_dir / "prefect"),
        "AWS_ENDPOINT_URL": stack.aws_endpoint_url,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": KEY,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "SENSOR_INGEST_STACK": STACK_NAME,
        "SENSOR_INGEST_NOTIFY_AFTER_SECONDS": f"{notify_after_seconds:g}",
        **_NOBODYS_BUSINESS,
        **_without_proxy(os.environ),
    }


def child_environment(stack: StackDescription) -> dict[str, str]:
    """The environment of the stack's own processes: this one's, without settings of other accounts and databases."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    return {
        **kept,
        **stack.environment,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        # The Prefect server answers 500 in the moment in which PostgreSQL dies; clients only repeat after 503 and such.
        "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500",
        "TMPDIR": str(stack.data_dir / "tmp"),
        "PYTHONUNBUFFERED": "1",  # logs that end where a killed process ended
        MARK: str(stack.data_dir),
    }


def _without_proxy(inherited: Mapping[str, str]) -> dict[str, str]:
    """Addresses that no proxy is to be asked for, where the environment names a proxy at all."""
    if not any(name.lower() in {"http_proxy", "https_proxy", "all_proxy"} for name in inherited):
        return {}
    others = inherited.get("no_proxy") or inherited.get("NO_PROXY")
    return dict.fromkeys(("NO_PROXY", "no_proxy"), f"{others},{_LOOPBACK}" if others else _LOOPBACK)
