"""The whole job with the roles of the template: all that it does is allowed, and all that is allowed is used."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import pytest
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from blocks.saved_blocks import BLOCK_NAME, save_blocks
from tests.iam.installation import Installation, actions_of
from tests.iam.job import STORIES, WITH_VERSIONS, Job
from tests.iam.localemu import Decision
from tests.iam.test_each_action import KEPT, copy_in_parts_and_fail
from tests.support.world import harness

ONLY_ELSEWHERE: Final = {
    "main": {("TakeFromIncoming", "s3:GetObjectTagging")},
    "existing": {
        ("TakeFromIncoming", "s3:GetObjectVersion"),
        ("TakeFromIncoming", "s3:GetObjectVersionTagging"),
        ("PutWhereFilesGo", "s3:AbortMultipartUpload"),
    },
}
"""What only a bucket without versions needs, or only one with them. Copies in parts go to `processed/` here."""


@pytest.fixture(scope="module")
def prefect_of_runs(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[None]:
    with (
        harness(tmp_path_factory.mktemp("prefect-of-iam"), empty_database),
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        yield


@pytest.mark.usefixtures("prefect_of_runs")
@pytest.mark.parametrize("name", ["main", "existing"])
def test_the_whole_job_needs_what_the_template_allows_and_nothing_else(
    name: str, request: pytest.FixtureRequest
) -> None:
    stack: Installation = request.getfixturevalue(name)
    save_blocks(stack.outputs, stack.run_credentials)
    stack.zone.save(BLOCK_NAME, overwrite=True)  # a block that is there keeps where its files move to
    job, before = Job(stack), len(stack.aws.decisions())
    for story in (*STORIES, *(WITH_VERSIONS if name == "main" else ())):
        story(job)
    copy_in_parts_and_fail(stack)
    decisions = stack.aws.decisions(before)
    assert [] == [decision for decision in decisions if not decision.allowed]
    allowed, used = used_of(stack, decisions)
    assert allowed - KEPT.keys() - ONLY_ELSEWHERE[name] == used


def used_of(stack: Installation, decisions: list[Decision]) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """Statement and action of all that the stack's policies allow; and of what these decisions were about."""
    allowed, used = set[tuple[str, str]](), set[tuple[str, str]]()
    for policy, role in (("TakeArrivals", stack.outputs.relay_role_arn), ("List", stack.outputs.run_role_arn)):
        mine = {(each.action, each.resource) for each in decisions if role.endswith(f"/{each.role}")}
        for statement in stack.policy_of(policy)[1]["Statement"]:
            resources = statement["Resource"]
            patterns = [resources] if isinstance(resources, str) else resources
            allowed |= {(statement["Sid"], action) for action in actions_of(statement)}
            used |= {
                (statement["Sid"], action)
                for action, resource in mine
                if action in actions_of(statement) and any(fnmatchcase(resource, pattern) for pattern in patterns)
            }
    return allowed, used
