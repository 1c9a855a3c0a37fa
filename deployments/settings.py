"""Settings that are needed before a Prefect API can be asked: environment variables and limits of deployed runs."""

import sys
from pathlib import Path
from typing import Final

from pydantic import AliasChoices, Field, SecretStr

from blocks.domain.limits import LONGEST_WAIT_SECONDS, RUNS_AT_ONCE
from blocks.domain.names import EMAILS_QUEUE, FILES_QUEUE
from blocks.stack_outputs import StackSettings

POOL_LIMIT: Final = 10
"""Concurrency limit of the work pool, in runs.

Twice the sum of the other limits (ingest runs, emails, one sweep): a silent run keeps its slot until the relay or a
sweep frees it, and the sweep itself needs a slot.
"""

EMAIL_RUNS_AT_ONCE: Final = 2
"""Concurrency limit of notify runs: starting a process takes a core, and the smallest machine has two."""

QUEUE_LIMITS: Final = {FILES_QUEUE: RUNS_AT_ONCE, EMAILS_QUEUE: EMAIL_RUNS_AT_ONCE}
"""Concurrency limits of the work queues, in runs, by name."""


class Settings(StackSettings):
    """Settings of the command line and of `prefect deploy`: environment variables with the prefix `SENSOR_INGEST_`."""

    notify_after_seconds: float = Field(
        default=600,
        ge=0,
        le=LONGEST_WAIT_SECONDS,
        description="Default wait of deployed runs between loading and email, in seconds.",
    )
    feeds: Path = Field(
        default=Path(__file__).with_name("feeds"),
        description="Folder with the descriptors of feeds that `deploy` saves; by default those of this project.",
    )
    warm_starts: bool = Field(
        default=sys.platform == "linux",
        description="Whether runs of an embedded stack are forked from a warm process; on by default on Linux.",
    )
    auth_string: SecretStr | None = Field(
        default=None,
        description="`user:password` that an embedded stack's Prefect server asks for; by default it asks for nothing.",
    )
    endpoint_url: str | None = Field(
        default=None,
        validation_alias=AliasChoices("AWS_ENDPOINT_URL"),
        description="Endpoint of an AWS emulator, such as the embedded one; by default AWS itself.",
    )
