"""The base of all blocks: their AWS clients, and errors that name the missing permission."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, overload

from botocore.exceptions import BotoCoreError, ClientError
from prefect.blocks.core import Block
from prefect_aws.credentials import AwsCredentials
from pydantic import Field, HttpUrl

from blocks.aws_clients import client_of
from blocks.domain.errors import PermissionMissingError, SensorIngestError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sesv2 import SESV2Client

AWS_ERRORS: Final = (SensorIngestError, BotoCoreError, ClientError)
"""What the calls of blocks raise, whatever is wrong with AWS."""

_REFUSED: Final = frozenset({"AccessDenied", "AccessDeniedException", "403"})
# The permissions of these calls are not named like the call.
# Sources: "Required permissions for Amazon S3 API operations", Amazon S3 user guide; "Using IAM with DynamoDB
# transactions", Amazon DynamoDB developer guide: a transaction needs the permissions of its writes.
_PERMISSIONS: Final = {
    "HeadObject": "s3:GetObject (and s3:ListBucket, without which S3 answers 403 for an object that does not exist)",
    "GetObject": "s3:GetObject (for a version: s3:GetObjectVersion)",
    "ListObjectsV2": "s3:ListBucket",
    "CopyObject": "s3:GetObject or s3:GetObjectTagging (for a version: s3:GetObjectVersion or "
    "s3:GetObjectVersionTagging) on the source, or s3:PutObject or s3:PutObjectTagging on the copy,",
    "TransactWriteItems": "dynamodb:PutItem",
    "SendEmail": "ses:SendEmail and ses:SendRawEmail",
}


class AwsBlock(Block):
    """Base of the blocks that stand for one AWS resource."""

    _documentation_url: ClassVar[HttpUrl | None] = HttpUrl("https://docs.prefect.io/v3/concepts/blocks")
    _logo_url: ClassVar[HttpUrl | None] = HttpUrl(str(AwsCredentials._logo_url))  # noqa: SLF001 - the picture of AWS

    credentials: AwsCredentials = Field(
        default_factory=AwsCredentials,
        description="Credentials, region and endpoint; left empty, those of the process that runs the flow.",
    )

    @overload
    def _client(self, service: Literal["s3"]) -> "S3Client": ...
    @overload
    def _client(self, service: Literal["dynamodb"]) -> "DynamoDBClient": ...
    @overload
    def _client(self, service: Literal["sesv2"]) -> "SESV2Client": ...
    def _client(self, service: str) -> Any:
        """The client of the service with the block's credentials."""
        return client_of(self.credentials, service)

    @contextmanager
    def _naming_permission(self, service: str, resource: str) -> Iterator[None]:
        """Turn an AWS refusal into an error that names the permission; other errors pass unchanged.

        Raises:
            PermissionMissingError: AWS answered 403.
        """
        try:
            yield
        except ClientError as error:
            if error.response["Error"]["Code"] not in _REFUSED:
                raise
            operation = error.operation_name
            permission = _PERMISSIONS.get(operation, f"{service}:{operation}")
            block = f"{self.get_block_type_slug()}/{self._block_document_name or '(not saved)'}"
            raise PermissionMissingError(permission, resource, block) from error
