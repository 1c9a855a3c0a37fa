"""What others can read about an embedded stack that runs: `stack.json` in its data directory."""

import os
from pathlib import Path
from typing import Final, Self

from pydantic import BaseModel, Field

from deployments.embedded.process_id import ProcessId

UNWANTED_VARIABLES: Final = (
    "AWS_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "PREFECT_API_AUTH_STRING",
    "PREFECT_API_KEY",
    "PREFECT_PROFILE",
)
"""Settings of other accounts that a shell must not have set besides `StackDescription.environment`."""

_FILE: Final = "stack.json"


class StackDescription(BaseModel):
    """Where an embedded stack is, and of which processes it consists."""

    data_dir: Path
    prefect_port: int
    aws_port: int
    environment: dict[str, str]
    """What points `prefect`, `aws` and `sensor-ingest` at it."""
    supervisor: ProcessId
    parts: dict[str, ProcessId] = Field(default_factory=dict)
    """By name, in the order in which they were started."""
    ready: bool = False
    """Whether everything runs; before that, some of it is still being started."""

    @property
    def prefect_url(self) -> str:
        """Address of the Prefect UI."""
        return f"http://127.0.0.1:{self.prefect_port}"

    @property
    def prefect_api_url(self) -> str:
        return f"{self.prefect_url}/api"

    @property
    def aws_endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self.aws_port}"

    def log_of(self, part: str) -> Path:
        """Where a part writes what it has to say."""
        return self.data_dir / "logs" / f"{part}.log"

    @classmethod
    def read(cls, data_dir: Path) -> Self | None:
        """The description of the stack that runs there, or ran there last; None when none ever did."""
        try:
            return cls.model_validate_json((data_dir / _FILE).read_bytes())
        except FileNotFoundError:
            return None

    def write(self) -> None:
        """Replace the description in the data directory, in one step: readers see the old one or the new one."""
        scratch = self.data_dir / f".{_FILE}.{os.getpid()}"
        scratch.write_text(self.model_dump_json(indent=2), encoding="utf-8")
        scratch.replace(self.data_dir / _FILE)
