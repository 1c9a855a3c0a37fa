"""Description of an embedded stack for other processes: `stack.json` in its data directory."""

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
"""Variables for other accounts and servers, which a shell must unset to use `StackDescription.environment`."""

_FILE: Final = "stack.json"


class StackDescription(BaseModel):
    """Addresses and processes of an embedded stack."""

    data_dir: Path
    prefect_port: int
    aws_port: int
    environment: dict[str, str]
    """Variables with which `prefect`, `aws` and `sensor-ingest` use the stack."""
    supervisor: ProcessId
    parts: dict[str, ProcessId] = Field(default_factory=dict)
    """Processes of the parts by name, in the order in which they were first started."""
    ready: bool = False
    """Whether all parts run."""

    @property
    def access_key(self) -> str:
        """The access key that the emulator asks for."""
        return self.environment["AWS_ACCESS_KEY_ID"]

    @property
    def auth_string(self) -> str | None:
        """What the Prefect server asks for; None if it asks for nothing."""
        return self.environment.get("PREFECT_API_AUTH_STRING")

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

    def log_file(self, part: str) -> Path:
        return self.data_dir / "logs" / f"{part}.log"

    @classmethod
    def read(cls, data_dir: Path) -> Self | None:
        """The description of the stack that runs in the directory, or ran there last; None if none ever did."""
        try:
            return cls.model_validate_json((data_dir / _FILE).read_bytes())
        except FileNotFoundError:
            return None

    def write(self) -> None:
        """Replace the file atomically: readers see the old description or the new one."""
        temporary = self.data_dir / f".{_FILE}.{os.getpid()}"
        temporary.write_text(self.model_dump_json(indent=2), encoding="utf-8")
        temporary.replace(self.data_dir / _FILE)


def running_stack(data_dir: Path) -> StackDescription | None:
    """The description of the stack that runs in the directory; None if none runs."""
    description = StackDescription.read(data_dir)
    if description is None:
        return None
    from deployments.embedded.processes import find_process  # noqa: PLC0415 - psutil is in the extra `embedded`

    return description if find_process(description.supervisor) else None
