"""The inspected system: an AWS account and a Prefect server, each part read when the first check needs it."""

from collections.abc import Mapping
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any, Final

import boto3
from botocore.config import Config
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.responses import DeploymentResponse
from prefect.events.schemas.automations import Automation
from prefect_aws.credentials import AwsCredentials

from blocks.aws_block import AwsBlock
from blocks.domain.names import deployment_name
from blocks.saved_blocks import find_block
from blocks.stack_outputs import StackOutputs
from deployments.settings import Settings

TIMEOUT_SECONDS: Final = 5
"""Timeout of one call; no call is repeated."""

_SHORT_TIMEOUTS: Final = Config(
    connect_timeout=2, read_timeout=TIMEOUT_SECONDS, retries={"total_max_attempts": 1, "mode": "standard"}
)

_AUTOMATIONS_PER_PAGE: Final = 200


class InspectedSystem:
    """The system that the checks read; all answers are cached."""

    aws_date: datetime | None = None
    """Date header of the answer to GetCallerIdentity, once `aws account` was checked."""

    def __init__(self) -> None:
        self.blocks: dict[type[AwsBlock], AwsBlock] = {}
        """Saved blocks by type, as far as `load_block` has read them."""
        self._clients: dict[Any, Any] = {}

    @cached_property
    def settings(self) -> Settings:
        return Settings()

    # ---- AWS -----------------------------------------------------------------------------------------------------

    @cached_property
    def session(self) -> boto3.Session:
        """Credentials and region of this process, which `deploy` and the relay use as well."""
        return boto3.Session()

    def client(self, service: Any) -> Any:  # noqa: ANN401 - boto3's stubs overload it for every service
        """A client with the credentials of this process and short timeouts."""
        if service not in self._clients:
            self._clients[service] = self.session.client(service, config=_SHORT_TIMEOUTS)
        return self._clients[service]

    def client_of(self, block_type: type[AwsBlock], service: Any) -> Any:  # noqa: ANN401 - as above
        """The client that runs use, with credentials, region and endpoint of the saved block; else as `client`."""
        block = self.blocks.get(block_type)
        if block is None:
            return self.client(service)
        if (block_type, service) not in self._clients:
            settings = block.credentials.aws_client_parameters.get_params_override()
            settings["config"] = (settings.get("config") or Config()).merge(_SHORT_TIMEOUTS)
            self._clients[block_type, service] = _session_of(block.credentials).client(
                service, region_name=block.credentials.region_name, **settings
            )
        return self._clients[block_type, service]

    @cached_property
    def outputs(self) -> StackOutputs:
        """The outputs of the CloudFormation stack.

        Raises:
            StackMissingError: the stack does not exist, or another template created it.
        """
        return StackOutputs.read(self.settings.stack, self.client("cloudformation"))

    @cached_property
    def rule_name(self) -> str:
        """Physical name of the EventBridge rule."""
        answer = self.client("cloudformation").describe_stack_resource(
            StackName=self.settings.stack, LogicalResourceId="FileArrived"
        )
        return str(answer["StackResourceDetail"]["PhysicalResourceId"])

    @cached_property
    def rule(self) -> dict[str, Any]:
        return dict(self.client("events").describe_rule(Name=self.rule_name))

    def queue(self, url: str) -> dict[str, str]:
        """The attributes of the queue."""
        answer = self.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        return dict(answer["Attributes"])

    # ---- Prefect -------------------------------------------------------------------------------------------------

    @cached_property
    def prefect(self) -> SyncPrefectClient:
        return get_client(sync_client=True)

    def load_block(self, block_type: type[AwsBlock]) -> AwsBlock | None:
        """The saved block, which later checks find in `blocks`; None if it is not saved."""
        block = find_block(block_type)
        if block is not None:
            self.blocks[block_type] = block
        return block

    def deployment(self, described: Mapping[str, Any]) -> DeploymentResponse:
        """The deployment on the server for an entry of `prefect.yaml`."""
        return self.prefect.read_deployment_by_name(deployment_name(described["name"]))

    @cached_property
    def automations(self) -> list[Automation]:
        found: list[Automation] = []
        while True:
            page = self.prefect.read_automations(limit=_AUTOMATIONS_PER_PAGE, offset=len(found))
            found += page
            if len(page) < _AUTOMATIONS_PER_PAGE:
                return found


@lru_cache(maxsize=8)
def _session_of(credentials: AwsCredentials) -> Any:  # noqa: ANN401 - boto3's, whose stubs see no service
    """One session per credentials: each session reads botocore's service descriptions again."""
    return credentials.get_boto3_session()
