"""The stacks of the templates in localemu: roles, their credentials, and policies that an action is taken from."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import boto3
from prefect_aws.client_parameters import AwsClientParameters
from prefect_aws.credentials import AwsCredentials
from pydantic import SecretStr

from blocks.file_ledger import FileLedger
from blocks.landing_zone import LandingZone
from blocks.mailer import Mailer
from blocks.readings_table import ReadingsTable
from blocks.stack_outputs import StackOutputs
from deployments.aws.stack import ensure_stack
from tests.iam.localemu import Localemu
from tests.support.servers import REGION

PARAMETERS = {
    "SenderAddress": "sensors@example.com",
    "Recipients": "ada@example.com",
    # localemu's CloudFormation cannot create an identity; `installed` does so by SES's API.
    "CreateSender": "no",
}


@dataclass(frozen=True)
class Installation:
    """A stack of stack.yaml, with what relay and runs have of it."""

    aws: Localemu
    name: str
    outputs: StackOutputs

    @cached_property
    def relay(self) -> boto3.Session:
        """The relay's credentials."""
        return self.aws.role_taken(self.outputs.relay_role_arn)

    @cached_property
    def run(self) -> boto3.Session:
        """The runs' credentials."""
        return self.aws.role_taken(self.outputs.run_role_arn)

    @cached_property
    def run_credentials(self) -> AwsCredentials:
        return _credentials(self.run, self.aws)

    @cached_property
    def zone(self) -> LandingZone:
        return LandingZone(
            bucket=self.outputs.bucket_name,
            target_bucket=self.outputs.target_bucket,
            credentials=self.run_credentials,
        )

    @cached_property
    def ledger(self) -> FileLedger:
        return FileLedger(table_name=self.outputs.files_table_name, credentials=self.run_credentials)

    @cached_property
    def table(self) -> ReadingsTable:
        return ReadingsTable(table_name=self.outputs.readings_table_name, credentials=self.run_credentials)

    @cached_property
    def mailer(self) -> Mailer:
        return Mailer(
            sender=self.outputs.sender_address,
            recipients=list(self.outputs.recipients),
            credentials=self.run_credentials,
        )

    @cached_property
    def relay_ledger(self) -> FileLedger:
        credentials = _credentials(self.relay, self.aws)
        return FileLedger(table_name=self.outputs.files_table_name, credentials=credentials)

    def policy_of(self, statement: str) -> tuple[str, dict[str, Any]]:
        """The ARN of the policy of this stack's roles that has the statement, and its document."""
        iam = self.aws.client("iam")
        for role in (self.outputs.relay_role_arn, self.outputs.run_role_arn):
            name = role.rsplit("/", 1)[-1]
            for attached in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
                arn = attached["PolicyArn"]
                version = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
                document = iam.get_policy_version(PolicyArn=arn, VersionId=version)["PolicyVersion"]["Document"]
                if statement in {each["Sid"] for each in document["Statement"]}:
                    return arn, document
        raise LookupError(statement)

    @contextmanager
    def without(self, statement: str, action: str) -> Iterator[None]:
        """While the block lasts, the statement does not allow the action."""
        arn, document = self.policy_of(statement)
        less = {**document, "Statement": list(_less(document["Statement"], statement, action))}
        iam = self.aws.client("iam")
        before = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
        made = iam.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(less), SetAsDefault=True)
        try:
            yield
        finally:
            iam.set_default_policy_version(PolicyArn=arn, VersionId=before)
            iam.delete_policy_version(PolicyArn=arn, VersionId=made["PolicyVersion"]["VersionId"])


def installed(aws: Localemu, name: str, **parameters: str) -> Installation:
    """The stack of that name, with these parameters and those that all have."""
    aws.client("sesv2").create_email_identity(EmailIdentity=PARAMETERS["SenderAddress"])
    return Installation(aws, name, ensure_stack(aws.client("cloudformation"), name, PARAMETERS | parameters))


def actions_of(statement: dict[str, Any]) -> list[str]:
    """The actions of a statement, which may have one of them as text."""
    actions: str | list[str] = statement["Action"]
    return [actions] if isinstance(actions, str) else actions


def _less(statements: list[dict[str, Any]], sid: str, action: str) -> Iterator[dict[str, Any]]:
    for each in statements:
        if each["Sid"] != sid:
            yield each
        elif left := [other for other in actions_of(each) if other != action]:
            yield {**each, "Action": left}


def _credentials(session: boto3.Session, aws: Localemu) -> AwsCredentials:
    keys = session.get_credentials()
    assert keys is not None
    return AwsCredentials(
        region_name=REGION,
        aws_access_key_id=keys.access_key,
        aws_secret_access_key=SecretStr(keys.secret_key),
        aws_session_token=keys.token,
        # Without `verify`, prefect-aws forgets the path when it loads the block.
        aws_client_parameters=AwsClientParameters(
            endpoint_url=aws.endpoint_url, verify=True, verify_cert_path=aws.certificate
        ),
    )
