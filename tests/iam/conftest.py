"""One localemu that all of these tests share, with the stacks of our templates.

It is installed by `make test-iam` in a virtual environment of its own, so `make test` leaves the folder out: it is
collected only where it is named.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.iam.installation import Installation, installed
from tests.iam.localemu import Localemu, running_localemu
from tests.support.servers import REGION


def pytest_addoption(parser: pytest.Parser) -> None:
    python = Path(sys.prefix) / "iam" / "bin" / "python"
    parser.addoption("--localemu", type=Path, default=python, help="The Python that localemu is installed for.")


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    named = any("tests/iam" in str(argument) for argument in config.args)
    return None if named else True


@pytest.fixture(scope="session")
def localemu(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Localemu]:
    python: Path = request.config.getoption("--localemu")
    assert python.exists(), f"{python} is missing; `make test-iam` installs it"
    with running_localemu(python.absolute(), tmp_path_factory.mktemp("localemu")) as running:
        yield running


@pytest.fixture(scope="session")
def main(localemu: Localemu) -> Installation:
    """The stack as most have it."""
    return installed(localemu, "main")


@pytest.fixture(scope="session")
def existing(localemu: Localemu) -> Installation:
    """A stack with a bucket that a team had, without versions; loaded files move to another one.

    Mail goes to recipients of one domain only.
    """
    s3 = localemu.client("s3")
    for bucket in ("landing-of-a-team", "archive-of-a-team"):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_notification_configuration(
        Bucket="landing-of-a-team", NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    return installed(
        localemu,
        "existing",
        ExistingBucketName="landing-of-a-team",
        ProcessedBucketName="archive-of-a-team",
        RecipientPatterns="*@example.com",
    )
