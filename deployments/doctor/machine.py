"""Checks of this machine: packages, AWS credentials, clock, CloudFormation stack."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any, Final

from botocore.exceptions import ClientError
from packaging.requirements import Requirement

from deployments.doctor.check_results import Check, CheckResult, not_checked, ok, problem
from deployments.doctor.system import InspectedSystem

MAX_CLOCK_SKEW: Final = timedelta(minutes=5)
"""AWS refuses older signatures. Source: "Elements of an AWS API request signature", AWS IAM user guide."""


def dependencies(_: InspectedSystem) -> CheckResult:
    """Each package is installed in the version range of `pyproject.toml`."""
    mismatches = [text for text in map(_mismatch, requires("sensor-ingest") or []) if text]
    if mismatches:
        return problem("; ".join(mismatches), "`make install` installs the versions of requirements.lock")
    return ok(f"prefect {version('prefect')}, and the others in the ranges of pyproject.toml")


def _mismatch(line: str) -> str:
    """The problem with that requirement; empty if it is met or belongs to an extra."""
    required = Requirement(line)
    if required.marker and not required.marker.evaluate({"extra": ""}):
        return ""
    try:
        found = version(required.name)
    except PackageNotFoundError:
        return f"{required.name} is not installed"
    met = required.specifier.contains(found, prereleases=True)
    return "" if met else f"{required.name} {found}, not {required.specifier}"


def account(system: InspectedSystem) -> CheckResult:
    """A region is set, and AWS accepts the credentials. `clock` uses the date of the answer."""
    if system.session.region_name is None:
        return problem(
            "no region is set", 'set AWS_DEFAULT_REGION, or: eval "$(sensor-ingest env)" for the embedded stack'
        )
    if system.session.get_credentials() is None:
        return problem("no credentials", '`aws configure`, or a role for this machine, or: eval "$(sensor-ingest env)"')
    try:
        answer = system.client("sts").get_caller_identity()
    except ClientError as error:
        system.aws_date = _date(error.response)
        return problem(
            f"AWS refuses the credentials: {error.response['Error']['Code']}",
            "`aws configure`, or `aws sso login`; if `clock` has a problem, correct that first",
        )
    system.aws_date = _date(answer)
    return ok(f"{answer['Arn']} in {system.session.region_name}")


def _date(answer: Any) -> datetime | None:  # noqa: ANN401 - botocore's answer of any service
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    return parsedate_to_datetime(date) if date else None


def clock(system: InspectedSystem) -> CheckResult:
    """The clock agrees with that of AWS, whose answers have a date even if they are errors."""
    if system.aws_date is None:
        return not_checked("an answer with a date to aws account")
    skew = datetime.now(UTC) - system.aws_date
    if abs(skew) > MAX_CLOCK_SKEW:
        direction = "ahead of" if skew > timedelta(0) else "behind"
        return problem(
            f"{abs(skew)} {direction} that of AWS, which refuses signatures more than {MAX_CLOCK_SKEW} off",
            "set the clock (`timedatectl set-ntp true`)",
        )
    return ok(f"within {abs(skew.total_seconds()):.0f} s of that of AWS")


def stack(system: InspectedSystem) -> CheckResult:
    """The CloudFormation stack exists in the region of this process."""
    outputs = system.outputs
    if outputs.region != system.session.region_name:
        return problem(
            f"it is in {outputs.region}, this process in {system.session.region_name}", "set AWS_DEFAULT_REGION"
        )
    return ok(f"{system.settings.stack} in {outputs.region}")


CHECKS: Final = (
    Check("dependencies", dependencies),
    Check("aws account", account),
    Check("clock", clock),  # needs no account: AWS also refuses credentials because of a wrong clock
    Check("stack", stack, ("aws account",)),
)
