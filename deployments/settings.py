"""What must be known before there is a Prefect API to ask: read from the environment, in one place."""

from typing import Final

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from blocks.stack_outputs import STACK_NAME

WORK_POOL: Final = "sensor-ingest"


class Settings(BaseSettings):
    """Settings of the command line and of `prefect deploy`, each from the environment variable that is named."""

    model_config = SettingsConfigDict(env_prefix="SENSOR_INGEST_", extra="ignore")

    stack: str = Field(default=STACK_NAME, description="CloudFormation stack whose outputs say what is where.")
    notify_after_seconds: float = Field(
        default=600, ge=0, description="Seconds between loading and email that deployed runs wait for by default."
    )
    endpoint_url: str | None = Field(
        default=None,
        validation_alias=AliasChoices("AWS_ENDPOINT_URL"),
        description="Endpoint that takes the place of AWS: the embedded emulator's. Left empty, AWS itself.",
    )
