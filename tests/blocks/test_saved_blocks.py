"""The blocks of an environment on a Prefect server: saved as often as one likes, found by every run.

Saving takes Prefect seconds, so one story is told, and each test looks at one thing in it.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect_aws.client_parameters import AwsClientParameters
from prefect_aws.credentials import AwsCredentials
from pydantic import SecretStr

from blocks import saved_blocks
from blocks.aws_block import AwsBlock
from blocks.domain.errors import BlockInvalidError, BlockMissingError
from blocks.file_ledger import FileLedger
from blocks.landing_zone import LandingZone
from blocks.mailer import Mailer
from blocks.readings_table import ReadingsTable
from blocks.saved_blocks import BLOCK_NAME, BLOCK_TYPES, SavedBlocks, load_blocks, save_blocks
from blocks.stack_outputs import StackOutputs
from tests.blocks.conftest import Bucket
from tests.support.servers import talking_to

SECRET = "made-up-secret"
CREDENTIALS = AwsCredentials(
    aws_access_key_id="test",
    aws_secret_access_key=SecretStr(SECRET),
    region_name="eu-central-1",
    aws_client_parameters=AwsClientParameters(endpoint_url="http://127.0.0.1:1"),
)
OUTPUTS = StackOutputs.model_validate(
    {
        "BucketName": "landing",
        "IncomingPrefix": "incoming/",
        "ProcessedBucketName": "archive",
        "QueueUrl": "http://queue",
        "DeadLetterQueueUrl": "http://dead-letters",
        "ReadingsTableName": "readings",
        "FilesTableName": "files",
        "SenderAddress": "sensors@example.com",
        "Recipients": "ada@example.com,bob@example.com",
        "RelayRoleArn": "arn:aws:iam::000000000000:role/relay",
        "RunRoleArn": "arn:aws:iam::000000000000:role/run",
        "Region": "eu-central-1",
    }
)


@dataclass(frozen=True)
class Story:
    """A server that nobody deployed to; then a first save, edits by people, and a save from another stack."""

    before: str
    names: list[str]
    first: SavedBlocks
    bucket: Bucket
    names_again: list[str]
    second: SavedBlocks
    on_server: list[dict[str, str]]


@pytest.fixture(scope="module")
def server(prefect_server: str) -> Iterator[str]:
    with talking_to(prefect_server):
        yield prefect_server


@pytest.fixture(scope="module")
def story(server: str, make_bucket: Callable[[bool], Bucket], credentials: AwsCredentials) -> Story:
    assert server
    before = what_is_missing()
    names, first = save_blocks(OUTPUTS, CREDENTIALS), load_blocks()
    edit(LandingZone, incoming_prefix="drop/", processed_prefix="done/", target_bucket="elsewhere")
    edit(Mailer, recipients=["eve@example.com"], sender="eve@example.com")
    edit(FileLedger, claim_seconds=90)
    edit(ReadingsTable, patience_seconds=5)
    bucket = make_bucket(True)  # noqa: FBT003
    renamed = {"bucket_name": bucket.name, "readings_table_name": "readings-2", "files_table_name": "files-2"}
    names_again = save_blocks(OUTPUTS.model_copy(update=renamed), credentials.model_copy())
    return Story(before, names, first, bucket, names_again, load_blocks(), documents())


def what_is_missing() -> str:
    with pytest.raises(BlockMissingError) as error:
        load_blocks()
    return str(error.value)


def documents() -> list[dict[str, str]]:
    """All block documents of the server, as its API shows them."""
    with get_client(sync_client=True) as client:
        answer: list[dict[str, str]] = client.request("POST", "/block_documents/filter", json={}).json()
    return answer


def edit(block_type: type[AwsBlock], **fields: object) -> None:
    """What a person does in the UI."""
    patch(document_of(block_type)["id"], {"data": fields, "merge_existing_data": True})


def replace_fields(block_type: type[AwsBlock], **fields: object) -> None:
    """The block as another version saved it, with these fields and the credentials."""
    document = document_of(block_type)
    credentials = document["block_document_references"]["credentials"]["block_document"]["id"]
    fields["credentials"] = {"$ref": {"block_document_id": credentials}}
    patch(document["id"], {"data": fields, "merge_existing_data": False})


def document_of(block_type: type[AwsBlock]) -> dict[str, Any]:
    [document] = [each for each in documents() if each["block_type_name"] == block_type.get_block_type_name()]
    return document


def patch(document_id: str, change: dict[str, Any]) -> None:
    with get_client(sync_client=True) as client:
        client.request("PATCH", "/block_documents/{id}", path_params={"id": document_id}, json=change)


def blocks_of(blocks: SavedBlocks) -> list[AwsBlock]:
    return [blocks.landing_zone, blocks.readings_table, blocks.file_ledger, blocks.mailer]


# ---- Before -------------------------------------------------------------------------------------------------------


def test_a_server_that_nobody_deployed_to_is_named_with_the_block_it_lacks_and_the_remedy(
    story: Story, server: str
) -> None:
    assert f"server at {server} has no block 'sensor-landing-zone/sensor-ingest'" in story.before
    assert "`sensor-ingest deploy` saves it" in story.before


# ---- Saved once ---------------------------------------------------------------------------------------------------


def test_all_blocks_and_their_credentials_are_saved(story: Story) -> None:
    types = ["aws-credentials", *(each.get_block_type_slug() for each in BLOCK_TYPES)]
    assert [*(f"{block_type}/sensor-ingest" for block_type in types), "sensor-feed/sensor-readings"] == story.names


def test_runs_find_what_the_stack_made(story: Story) -> None:
    found = story.first
    assert ("landing", "archive") == (found.landing_zone.bucket, found.landing_zone.target_bucket)
    assert "incoming/" == found.landing_zone.incoming_prefix
    assert ("readings", "files") == (found.readings_table.table_name, found.file_ledger.table_name)
    assert "sensors@example.com" == found.mailer.sender
    assert ["ada@example.com", "bob@example.com"] == found.mailer.recipients


def test_every_block_has_the_credentials(story: Story) -> None:
    endpoints = {block.credentials.aws_client_parameters.endpoint_url for block in blocks_of(story.first)}
    assert {"http://127.0.0.1:1"} == endpoints


# ---- Saved again --------------------------------------------------------------------------------------------------


def test_saving_twice_leaves_one_document_of_each_type(story: Story) -> None:
    assert story.names == story.names_again
    assert [*[BLOCK_NAME] * 5, "sensor-readings"] == [document["name"] for document in story.on_server]


def test_what_people_edited_stays(story: Story) -> None:
    found = story.second
    assert ("drop/", "done/") == (found.landing_zone.incoming_prefix, found.landing_zone.processed_prefix)
    assert "elsewhere" == found.landing_zone.target_bucket
    assert (["eve@example.com"], "eve@example.com") == (found.mailer.recipients, found.mailer.sender)
    assert (90, 5) == (found.file_ledger.claim_seconds, found.readings_table.patience_seconds)


def test_what_the_stack_decides_follows_the_stack(story: Story) -> None:
    found = story.second
    assert story.bucket.name == found.landing_zone.bucket
    assert ("readings-2", "files-2") == (found.readings_table.table_name, found.file_ledger.table_name)


def test_a_block_from_the_server_works_where_the_credentials_lead_by_now(story: Story) -> None:
    file = story.bucket.put("drop/a.csv")
    assert file == story.second.landing_zone.describe(file)


@pytest.mark.usefixtures("story")
@pytest.mark.usefixtures("story")
def test_a_run_that_asks_for_no_feed_imports_no_pyarrow(server: str) -> None:
    program = (
        "import sys; from blocks.saved_blocks import load_blocks; load_blocks(){}; print('pyarrow' in sys.modules)"
    )
    environment = {**os.environ, "PREFECT_API_URL": server}
    imported = [
        subprocess.run(
            [sys.executable, "-c", program.format(asked)], capture_output=True, text=True, check=True, env=environment
        ).stdout.strip()
        for asked in ("", ".feeds")
    ]
    assert ["False", "True"] == imported


def test_a_ledger_that_version_0_1_saved_has_claims_of_a_minute() -> None:
    """Its leases of 900 s were for one version each, and a sweep could end them; it lacks the field of the claim."""
    replace_fields(FileLedger, table_name="files-of-0-1", lease_seconds=900, attempts=7)
    ledger = load_blocks().file_ledger
    assert ("files-of-0-1", 7, 60) == (ledger.table_name, ledger.attempts, ledger.claim_seconds)


# ---- Secrets ------------------------------------------------------------------------------------------------------


def test_the_secret_is_nowhere_to_be_read(story: Story) -> None:
    for block in blocks_of(story.first):
        assert SECRET not in f"{block!r} {block} {block.model_dump()} {block.model_dump_json()}"
    assert SECRET not in str(story.on_server)


def test_the_secret_is_there_for_those_who_ask_for_it(story: Story) -> None:
    secrets = {block.credentials.aws_secret_access_key for block in blocks_of(story.first)}
    assert {SecretStr(SECRET)} == secrets


@pytest.mark.usefixtures("story")
def test_keys_that_a_person_has_added_stay_until_the_endpoint_is_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved_blocks, "BLOCK_TYPES", ())  # the others are saved above

    def saved_for(endpoint: str) -> AwsCredentials:
        parameters = AwsClientParameters(endpoint_url=endpoint)
        save_blocks(OUTPUTS, AwsCredentials(region_name="eu-central-1", aws_client_parameters=parameters), feeds=())
        return AwsCredentials.load(BLOCK_NAME, _sync=True)  # type: ignore[return-value,call-arg] # as `async_dispatch` has it

    first = saved_for("http://emulator:4566")
    assert first.aws_access_key_id is None
    with_keys = {"aws_access_key_id": "added", "aws_secret_access_key": SecretStr(SECRET)}
    first.model_copy(update=with_keys).save(BLOCK_NAME, overwrite=True)
    assert "added" == saved_for("http://emulator:4566").aws_access_key_id
    assert saved_for("http://elsewhere:4566").aws_access_key_id is None


# ---- Edited into what cannot work ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("story")
@pytest.mark.parametrize("way", [load_blocks, lambda: save_blocks(OUTPUTS, CREDENTIALS)], ids=["run", "deploy"])
@pytest.mark.parametrize(
    ("block_type", "field", "wrong", "right"),
    [
        (LandingZone, "rejects_prefix", "/rejects/", "rejects/"),
        (FileLedger, "claim_seconds", 1e300, 60),
    ],
)
def test_a_field_that_cannot_work_is_named_with_its_block_and_the_remedy(
    way: Callable[[], object], block_type: type[AwsBlock], field: str, wrong: object, right: object
) -> None:
    edit(block_type, **{field: wrong})
    try:
        with pytest.raises(BlockInvalidError) as error:
            way()
    finally:
        edit(block_type, **{field: right})
    assert f"block '{block_type.get_block_type_slug()}/sensor-ingest'" in str(error.value)
    assert f"{field}: " in str(error.value)
    assert "Edit it in the Prefect UI" in str(error.value)


# ---- Deleted ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("story")
def test_the_first_block_that_is_missing_is_named_whichever_it_is() -> None:
    for block_type in reversed(BLOCK_TYPES):
        block_type.delete(BLOCK_NAME)
        assert f"no block '{block_type.get_block_type_slug()}/sensor-ingest'" in what_is_missing()
