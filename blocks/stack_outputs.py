"""Outputs of this project's CloudFormation stacks."""

from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Self

import boto3
from botocore.exceptions import ClientError
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_pascal
from pydantic_settings import BaseSettings, SettingsConfigDict

from blocks.domain.errors import StackMissingError

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudformation.type_defs import StackTypeDef

STACK_NAME: Final = "sensor-ingest"
"""Default name of the stack that deployments/aws/stack.yaml creates."""


class StackSettings(BaseSettings):
    """Name of the stack, from `SENSOR_INGEST_STACK`; needed only before a Prefect API can be asked for the blocks."""

    model_config = SettingsConfigDict(env_prefix="SENSOR_INGEST_", extra="ignore")

    stack: str = Field(
        default=STACK_NAME,
        description="CloudFormation stack whose outputs name the bucket, the queues, the tables and the addresses.",
    )


_DOES_NOT_EXIST: Final = "does not exist"
"""Part of the message of DescribeStacks for a missing stack; its code, ValidationError, covers other mistakes too."""


def _comma_separated(value: str) -> list[str]:
    return [part.strip() for part in value.split(",")]


CommaSeparated = BeforeValidator(_comma_separated)
"""CloudFormation outputs are strings; a list is joined by commas."""


class CloudFormationOutputs(BaseModel):
    """Base of the outputs of one template; each field is the output of that name in PascalCase."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_pascal)

    missing_error: ClassVar[type[StackMissingError]] = StackMissingError

    @classmethod
    def read(cls, stack_name: str, cloudformation_client: "CloudFormationClient") -> Self:
        """The outputs of the stack of that name.

        Raises:
            StackMissingError: the stack does not exist, or another template created it.
        """
        stack = find_stack(stack_name, cloudformation_client)
        outputs = {each["OutputKey"]: each["OutputValue"] for each in stack.get("Outputs", [])} if stack else {}
        missing = {to_pascal(name) for name, field in cls.model_fields.items() if field.is_required()} - outputs.keys()
        if missing:
            meta = cloudformation_client.meta
            raise cls.missing_error(stack_name, meta.region_name, meta.endpoint_url, sorted(missing) if stack else ())
        return cls.model_validate(outputs)


class StackOutputs(CloudFormationOutputs):
    """Outputs of deployments/aws/stack.yaml."""

    bucket_name: str
    incoming_prefix: str
    processed_bucket_name: str
    """Bucket that loaded files move to; equals `bucket_name` unless the stack's parameters name another bucket."""
    queue_url: str
    dead_letter_queue_url: str
    readings_table_name: str
    files_table_name: str
    sender_address: str
    recipients: Annotated[tuple[str, ...], CommaSeparated]
    relay_role_arn: str
    run_role_arn: str
    region: str
    kms_key_arn: str | None = None
    """Key that the stack's parameters name for bucket, queues and tables; None if AWS's keys encrypt them."""

    @property
    def target_bucket(self) -> str | None:
        """Bucket that loaded files move to; None if they stay in the bucket they arrived in."""
        return self.processed_bucket_name if self.processed_bucket_name != self.bucket_name else None


def current_stack_outputs() -> StackOutputs:
    """The outputs of the stack that `SENSOR_INGEST_STACK` names, read with this process's AWS credentials and region.

    Raises:
        StackMissingError: the stack does not exist there, or another template created it.
    """
    return StackOutputs.read(StackSettings().stack, boto3.client("cloudformation"))


def find_stack(stack_name: str, cloudformation_client: "CloudFormationClient") -> "StackTypeDef | None":
    """CloudFormation's description of the stack; None if no stack has that name."""
    try:
        return cloudformation_client.describe_stacks(StackName=stack_name)["Stacks"][0]
    except ClientError as error:
        if _DOES_NOT_EXIST in error.response["Error"]["Message"]:
            return None
        raise
