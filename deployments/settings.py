"""What must be known before there is a Prefect API to ask: read from the environment, in one place."""

from typing import Final

from pydantic import AliasChoices, Field

from blocks.domain.limits import LONGEST_WAIT_SECONDS
from blocks.stack_outputs import StackSettings

POOL_LIMIT: Final = 10
"""Runs in the pool at once, as a guard behind the other limits.

Twice what those add up to, ingest runs, emails and a sweep: a run that died with its worker keeps its slot until a
sweep frees it, and the sweep needs one for that.
"""

EMAILS_AT_ONCE: Final = 2
"""Notify runs at the same time: a process that starts is busy, and the smallest machine has two cores."""


class Settings(StackSettings):
    """Settings of the command line and of `prefect deploy`: variables that start with `SENSOR_INGEST_`."""

    notify_after_seconds: float = Field(
        default=600,
        ge=0,
        le=LONGEST_WAIT_SECONDS,
        description="Seconds between loading and email that deployed runs wait for by default.",
    )
    endpoint_url: str | None = Field(
        default=None,
        validation_alias=AliasChoices("AWS_ENDPOINT_URL"),
        description="Endpoint that takes the place of AWS: the embedded emulator's. Left empty, AWS itself.",
    )
