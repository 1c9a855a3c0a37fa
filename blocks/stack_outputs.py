"""What deployments/aws/stack.yaml made, read from the stack itself."""

from typing import TYPE_CHECKING, Annotated, Final, Self

from botocore.exceptions import ClientError
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_pascal
from pydantic_settings import BaseSettings, SettingsConfigDict

from blocks.domain.errors import StackMissingError

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudformation.type_defs import StackTypeDef

STACK_NAME: Final = "sensor-ingest"
"""Name that the stack has unless another is asked for."""


class StackSettings(BaseSettings):
    """Which stack this is about, from `SENSOR_INGEST_STACK`; needed only before there is a Prefect API to ask."""

    model_config = SettingsConfigDict(env_prefix="SENSOR_INGEST_", extra="ignore")

    stack: str = Field(default=STACK_NAME, description="CloudFormation stack whose outputs say what is where.")


_DOES_NOT_EXIST: Final = "does not exist"
"""How DescribeStacks says so; the code, ValidationError, is that of many mistakes."""


def _addresses(value: str) -> list[str]:
    return [address.strip() for address in value.split(",")]


class StackOutputs(BaseModel):
    """The outputs of the stack, by the names that the template gives them."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_pascal)

    bucket_name: str
    incoming_prefix: str
    processed_bucket_name: str
    """Bucket that loaded files move to; the same as `bucket_name` unless another was asked for."""
    queue_url: str
    dead_letter_queue_url: str
    readings_table_name: str
    files_table_name: str
    sender_address: str
    recipients: Annotated[tuple[str, ...], BeforeValidator(_addresses)]
    relay_role_arn: str
    run_role_arn: str
    region: str

    @property
    def target_bucket(self) -> str | None:
        """The bucket that loaded files move to; None where they stay in the one they landed in."""
        return self.processed_bucket_name if self.processed_bucket_name != self.bucket_name else None

    @classmethod
    def read(cls, stack_name: str, cloudformation_client: "CloudFormationClient") -> Self:
        """The outputs of that stack.

        Raises:
            StackMissingError: there is no such stack, or another template made it.
        """
        region, endpoint = cloudformation_client.meta.region_name, cloudformation_client.meta.endpoint_url
        stack = find_stack(stack_name, cloudformation_client)
        if stack is None:
            raise StackMissingError(stack_name, region, endpoint)
        outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
        missing = {to_pascal(field) for field in cls.model_fields} - outputs.keys()
        if missing:
            raise StackMissingError(stack_name, region, endpoint, sorted(missing))
        return cls.model_validate(outputs)


def find_stack(stack_name: str, cloudformation_client: "CloudFormationClient") -> "StackTypeDef | None":
    """The stack as CloudFormation describes it; None where there is none of that name."""
    try:
        return cloudformation_client.describe_stacks(StackName=stack_name)["Stacks"][0]
    except ClientError as error:
        if _DOES_NOT_EXIST in error.response["Error"]["Message"]:
            return None
        raise
