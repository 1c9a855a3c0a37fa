"""`prefect.yaml`: its content, and `prefect deploy --all`, which applies it."""

import subprocess
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import yaml

from blocks.domain.errors import SensorIngestError

PROJECT_FOLDER: Final = Path(__file__).parents[2]


class DeployError(SensorIngestError):
    """`prefect deploy --all` failed; the message contains its output."""

    lines = True


def prefect_deploy_all(environment: Mapping[str, str]) -> str:
    """The output of the command, which creates or updates all deployments of `prefect.yaml`.

    `environment` names the server. The command is a separate process, so the embedded stack does not import Prefect.

    Raises:
        DeployError: the command failed.
    """
    result = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
        cwd=PROJECT_FOLDER,
        env=dict(environment),
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if result.returncode:
        raise DeployError(f"`prefect deploy --all` failed:\n{result.stdout}")
    return result.stdout


@lru_cache
def prefect_yaml() -> dict[str, Any]:
    """The content of `prefect.yaml`."""
    content: dict[str, Any] = yaml.safe_load((PROJECT_FOLDER / "prefect.yaml").read_text(encoding="utf-8"))
    return content
