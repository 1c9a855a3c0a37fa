"""What `prefect.yaml` describes, and `prefect deploy --all`, as a person would type it in the project's folder."""

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
    """`prefect deploy --all` failed; the text is what it said."""


def prefect_deploy_all(environment: Mapping[str, str]) -> str:
    """What the command said; all deployments of `prefect.yaml` are on the server that the environment names.

    It is a process of its own: whoever starts it, like the embedded stack, need not import Prefect for it.

    Raises:
        DeployError: it failed.
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
        raise DeployError(f"the deployments could not be made:\n{result.stdout}")
    return result.stdout


@lru_cache
def prefect_yaml() -> dict[str, Any]:
    """What is to be deployed."""
    content: dict[str, Any] = yaml.safe_load((PROJECT_FOLDER / "prefect.yaml").read_text(encoding="utf-8"))
    return content
