"""`sensor-ingest deploy` as a process of its own: it imports Prefect, which whoever starts it need not wait for."""

import subprocess
import sys
from collections.abc import Mapping

from flows.errors import SensorIngestError


class DeployError(SensorIngestError):
    """`sensor-ingest deploy` failed; the text is what it said."""


def deploy_in_child(environment: Mapping[str, str]) -> None:
    """Deploy to the Prefect server that the environment variables name.

    Raises:
        DeployError: it failed.
    """
    result = subprocess.run(
        [sys.executable, "-m", "deployments.cli", "deploy"],
        env=dict(environment),
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if result.returncode:
        raise DeployError(f"the deployments could not be made:\n{result.stdout}")
