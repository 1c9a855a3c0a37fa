"""This machine: its clock, its packages, and whether it gets as far as AWS and the stack."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Final

from botocore.exceptions import ClientError
from packaging.requirements import Requirement

from deployments.doctor.findings import Check, Verdict, ok, problem
from deployments.doctor.world import World

AWS_TOLERATES: Final = timedelta(minutes=5)
"""A signature that is older is refused. Source: "Elements of an AWS API request signature", AWS IAM user guide."""


def dependencies(_: World) -> Verdict:
    """Each package in the range that `pyproject.toml` asks for: FastAPI 0.140 breaks Prefect 3.8, for one."""
    wrong = [said for said in map(_wrong, requires("sensor-ingest") or []) if said]
    if wrong:
        return problem("; ".join(wrong), "`make install` installs what requirements.lock holds")
    return ok(f"prefect {version('prefect')}, fastapi {version('fastapi')}, and the others as pyproject.toml asks for")


def _wrong(line: str) -> str:
    """What is wrong with that requirement; nothing of one that is met, or is about an extra."""
    asked = Requirement(line)
    if asked.marker and not asked.marker.evaluate({"extra": ""}):
        return ""
    try:
        found = version(asked.name)
    except PackageNotFoundError:
        return f"{asked.name} is not installed"
    return "" if asked.specifier.contains(found, prereleases=True) else f"{asked.name} {found}, not {asked.specifier}"


def clock(world: World) -> Verdict:
    """The clock against that of AWS, which dates its refusals as well."""
    if world.session.region_name is None:
        return problem(
            "no region is set", 'set AWS_DEFAULT_REGION, or: eval "$(sensor-ingest env)" for the embedded stack'
        )
    try:
        answer = world.client("sts").get_caller_identity()
    except ClientError as error:
        answer = error.response
    said = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    if said is None:
        return ok("AWS did not say what time it is")
    skew = datetime.now(UTC) - parsedate_to_datetime(said)
    if abs(skew) > AWS_TOLERATES:
        way = "ahead of" if skew > timedelta(0) else "behind"
        return problem(
            f"{abs(skew)} {way} that of AWS, which refuses signatures that are off by more than {AWS_TOLERATES}",
            "set the clock (`timedatectl set-ntp true`)",
        )
    return ok(f"within {abs(skew.total_seconds()):.0f} s of that of AWS")


def account(world: World) -> Verdict:
    """Credentials that AWS knows, and a region."""
    if world.session.get_credentials() is None:
        return problem("no credentials", '`aws configure`, or a role for this machine, or: eval "$(sensor-ingest env)"')
    try:
        who = world.client("sts").get_caller_identity()["Arn"]
    except ClientError as error:
        return problem(
            f"AWS does not take the credentials: {error.response['Error']['Code']}",
            "`aws configure`, or `aws sso login`",
        )
    return ok(f"{who} in {world.session.region_name}")


def stack(world: World) -> Verdict:
    """The CloudFormation stack, from which all names come."""
    outputs = world.outputs
    if outputs.region != world.session.region_name:
        return problem(
            f"it is in {outputs.region}, this process in {world.session.region_name}", "set AWS_DEFAULT_REGION"
        )
    return ok(f"{world.settings.stack} in {outputs.region}")


CHECKS: Final = (
    Check("dependencies", dependencies),
    Check("clock", clock),
    Check("aws account", account, ("clock",)),
    Check("stack", stack, ("aws account",)),
)
