"""What the doctor looks at: a Prefect server, an AWS account, and the two files that say how they should be."""

from collections.abc import Mapping
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any, Final

import boto3
import yaml
from botocore.config import Config
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.responses import DeploymentResponse
from prefect.events.schemas.automations import Automation
from prefect_aws.credentials import AwsCredentials

from blocks.aws_block import AwsBlock
from blocks.domain.names import deployment_name
from blocks.saved_blocks import find_block
from blocks.stack_outputs import StackOutputs
from deployments.aws.stack import TEMPLATE
from deployments.settings import Settings

TIMEOUT_SECONDS: Final = 5
"""The longest that one question may take; none is asked twice."""

_IMPATIENT: Final = Config(
    connect_timeout=2, read_timeout=TIMEOUT_SECONDS, retries={"total_max_attempts": 1, "mode": "standard"}
)

_AUTOMATIONS_PER_PAGE: Final = 200


class World:
    """Each part of it is asked for once, when a check first needs it."""

    aws_said_at: datetime | None = None
    """The date in AWS's answer to who we are, once that was asked."""

    @cached_property
    def settings(self) -> Settings:
        return Settings()

    # ---- AWS -----------------------------------------------------------------------------------------------------

    @cached_property
    def session(self) -> boto3.Session:
        """The credentials and the region of this process, which `deploy` and the relay use as well."""
        return boto3.Session()

    @cached_property
    def _clients(self) -> dict[Any, Any]:
        """Those made so far: making one costs more than a call."""
        return {}

    def client(self, service: Any) -> Any:  # noqa: ANN401 - boto3's stubs overload it for every service
        """A client with the credentials of this process that waits for nothing long."""
        if service not in self._clients:
            self._clients[service] = self.session.client(service, config=_IMPATIENT)
        return self._clients[service]

    def client_of(self, block_type: type[AwsBlock], service: Any) -> Any:  # noqa: ANN401 - as above
        """A client as runs have it: with the credentials, region and endpoint of the block, where it is saved."""
        block = self.blocks.get(block_type)
        if block is None:
            return self.client(service)
        settings = block.credentials.aws_client_parameters.get_params_override()
        settings["config"] = settings["config"].merge(_IMPATIENT) if settings.get("config") else _IMPATIENT
        if block.credentials.region_name:
            settings["region_name"] = block.credentials.region_name
        if (block_type, service) not in self._clients:
            self._clients[block_type, service] = self._session_of(block.credentials).client(service, **settings)
        return self._clients[block_type, service]

    def _session_of(self, credentials: AwsCredentials) -> Any:  # noqa: ANN401 - boto3's, whose stubs see no service
        """One for all blocks that share credentials: each session reads the descriptions of services anew."""
        for known, session in self._sessions:
            if known == credentials:
                return session
        self._sessions.append((credentials, credentials.get_boto3_session()))
        return self._sessions[-1][1]

    @cached_property
    def _sessions(self) -> list[tuple[AwsCredentials, boto3.Session]]:
        return []

    @cached_property
    def outputs(self) -> StackOutputs:
        """The outputs of the CloudFormation stack.

        Raises:
            StackMissingError: there is no such stack, or another template made it.
        """
        return StackOutputs.read(self.settings.stack, self.client("cloudformation"))

    @cached_property
    def rule_name(self) -> str:
        """The name that CloudFormation gave the rule."""
        answer = self.client("cloudformation").describe_stack_resource(
            StackName=self.settings.stack, LogicalResourceId="FileArrived"
        )
        return str(answer["StackResourceDetail"]["PhysicalResourceId"])

    @cached_property
    def rule(self) -> dict[str, Any]:
        return dict(self.client("events").describe_rule(Name=self.rule_name))

    def queue(self, url: str) -> dict[str, str]:
        """The attributes of a queue."""
        attributes: dict[str, str] = self.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])[
            "Attributes"
        ]
        return attributes

    # ---- Prefect -------------------------------------------------------------------------------------------------

    @cached_property
    def prefect(self) -> SyncPrefectClient:
        return get_client(sync_client=True)

    @cached_property
    def blocks(self) -> dict[type[AwsBlock], AwsBlock]:
        """The saved blocks that were looked at so far, by their type."""
        return {}

    def load(self, block_type: type[AwsBlock]) -> AwsBlock | None:
        """The block as it is saved, which later checks then use; None where there is none."""
        block = find_block(block_type)
        if block is not None:
            self.blocks[block_type] = block
        return block

    def deployment(self, described: Mapping[str, Any]) -> DeploymentResponse:
        """The deployment that an entry of `prefect.yaml` describes, as the server has it."""
        return self.prefect.read_deployment_by_name(deployment_name(described["name"]))

    @cached_property
    def automations(self) -> list[Automation]:
        found: list[Automation] = []
        while True:
            page = self.prefect.read_automations(limit=_AUTOMATIONS_PER_PAGE, offset=len(found))
            found += page
            if len(page) < _AUTOMATIONS_PER_PAGE:
                return found


class _TemplateLoader(yaml.SafeLoader):
    """Reads CloudFormation's short functions, like `!Ref`, as the text or list that they are given."""


def _argument(loader: yaml.SafeLoader, _: str, node: yaml.Node) -> Any:  # noqa: ANN401 - whatever YAML holds
    if isinstance(node, yaml.ScalarNode):
        return loader.construct_scalar(node)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node)
    return loader.construct_mapping(node) if isinstance(node, yaml.MappingNode) else None


_TemplateLoader.add_multi_constructor("!", _argument)


@lru_cache
def template_properties(resource: str) -> dict[str, Any]:
    """The properties that `deployments/aws/stack.yaml` gives that resource."""
    template = yaml.load(TEMPLATE.read_text(encoding="utf-8"), Loader=_TemplateLoader)  # noqa: S506 - a safe loader
    properties: dict[str, Any] = template["Resources"][resource]["Properties"]
    return properties
