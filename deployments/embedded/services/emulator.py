"""The AWS emulator: MiniStack, with its state in the data directory."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import boto3
from botocore.config import Config
from botocore.session import Session

from blocks.stack_outputs import STACK_NAME, StackOutputs
from deployments.aws.stack import ensure_stack
from deployments.embedded.description import StackDescription
from deployments.embedded.health import answers
from deployments.embedded.parts import Part
from deployments.embedded.ports import LOOPBACK

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient

_PARAMETERS: Final = {"SenderAddress": "sensors@example.com", "Recipients": "you@example.com"}


def emulator_part(stack: StackDescription, environment: Mapping[str, str]) -> Part:
    """The emulator; ready when its health check succeeds."""
    return Part(
        name="emulator",
        title="The AWS emulator",
        command=[sys.executable, "-m", "deployments.embedded.services.guarded_emulator"],
        environment={**environment, **_settings(stack.data_dir / "emulator", stack.aws_port)},
        working_dir=stack.data_dir,
        log_file=stack.log_file("emulator"),
        ready=lambda _: answers(f"{stack.aws_endpoint_url}/_ministack/health"),
        stop_within_seconds=30,  # it saves its tables and queues while it stops
    )


def _settings(state: Path, port: int) -> dict[str, str]:
    """Environment variables of MiniStack. Source: the code of MiniStack 1.5.33."""
    return {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": LOOPBACK,
        "MINISTACK_HOST": LOOPBACK,
        # Without the others, such as Lambda, which runs programs as the user of this process.
        "SERVICES": "cloudformation,cloudwatch,dynamodb,events,s3,ses,sqs,sts",
        # Disables a second listener, which ignores BIND_HOST: port 8883 on all interfaces.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        # Without Docker: it would remove all containers with its label, other users' too.
        "DOCKER_HOST": f"unix://{state}/no-docker.sock",
        # Objects are saved at once, everything else on SIGTERM.
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(state / "s3"),
        "PERSIST_STATE": "1",
        "STATE_DIR": str(state / "services"),
        "LOG_LEVEL": "WARNING",
    }


def has_state(data_dir: Path) -> bool:
    """Whether an emulator was ever stopped cleanly there, and so has saved its state."""
    return (data_dir / "emulator" / "services" / "cloudformation.json").exists()


def ensure_aws(stack: StackDescription) -> StackOutputs:
    """The outputs of the CloudFormation stack in the emulator, created or updated.

    Raises:
        StackFailedError: a resource could not be created.
    """
    return ensure_stack(_cloudformation(stack), STACK_NAME, _PARAMETERS)


def _cloudformation(stack: StackDescription) -> "CloudFormationClient":
    # The client ignores AWS_PROFILE, ~/.aws and proxies.
    unset = (None, None, None, None)
    session = Session(session_vars={"profile": unset, "config_file": unset, "credentials_file": unset})
    return boto3.Session(botocore_session=session).client(
        "cloudformation",
        endpoint_url=stack.aws_endpoint_url,
        region_name=stack.environment["AWS_REGION"],
        aws_access_key_id=stack.access_key,
        aws_secret_access_key=stack.environment["AWS_SECRET_ACCESS_KEY"],
        config=Config(proxies={}),
    )
