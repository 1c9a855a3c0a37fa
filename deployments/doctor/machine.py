"""This machine: its clock, its packages, and whether it gets as far as AWS and the stack."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any, Final

from botocore.exceptions import ClientError
from packaging.requirements import Requirement

from deployments.doctor.findings import Check, Verdict, ok, problem
from deployments.doctor.system import World

AWS_TOLERATES: Final = timedelta(minutes=5)
"""A signature that is older is refused. Source: "Elements of an AWS API request signature", AWS IAM user guide."""


def dependencies(_: World) -> Verdict:
    """Each package in the range that `pyproject.toml` asks for."""
    wrong = [said for said in map(_wrong, requires("sensor-ingest") or []) if said]
    if wrong:
        return problem("; ".join(wrong), "`make install` installs what requirements.lock holds")
    return ok(f"prefect {version('prefect')}, and the others as pyproject.toml asks for")


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


def account(world: World) -> Verdict:
    """A region, and credentials that AWS knows. What it answers is noted, as `clock` reads the date in it."""
    if world.session.region_name is None:
        return problem(
            "no region is set", 'set AWS_DEFAULT_REGION, or: eval "$(sensor-ingest env)" for the embedded stack'
        )
    if world.session.get_credentials() is None:
        return problem("no credentials", '`aws configure`, or a role for this machine, or: eval "$(sensor-ingest env)"')
    try:
        answer = world.client("sts").get_caller_identity()
    except ClientError as error:
        world.aws_said_at = _date(error.response)
        return problem(
            f"AWS does not take the credentials: {error.response['Error']['Code']}",
            "`aws configure`, or `aws sso login`; if `clock` is wrong, set that first",
        )
    world.aws_said_at = _date(answer)
    return ok(f"{answer['Arn']} in {world.session.region_name}")


def _date(answer: Any) -> datetime | None:  # noqa: ANN401 - botocore's, which holds what each service says
    said = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    return parsedate_to_datetime(said) if said else None


def clock(world: World) -> Verdict:
    """The clock against that of AWS, which dates its refusals as well."""
    if world.aws_said_at is None:
        return Verdict("not checked", "not checked: needs a dated answer to aws account")
    skew = datetime.now(UTC) - world.aws_said_at
    if abs(skew) > AWS_TOLERATES:
        way = "ahead of" if skew > timedelta(0) else "behind"
        return problem(
            f"{abs(skew)} {way} that of AWS, which refuses signatures that are off by more than {AWS_TOLERATES}",
            "set the clock (`timedatectl set-ntp true`)",
        )
    return ok(f"within {abs(skew.total_seconds()):.0f} s of that of AWS")


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
    Check("aws account", account),
    Check("clock", clock),  # also where AWS has refused the account, which a wrong clock makes it do
    Check("stack", stack, ("aws account",)),
)
