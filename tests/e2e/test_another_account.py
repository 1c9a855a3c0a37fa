"""The page about moving to another account, with its old bucket beside the bucket of the stack."""

import json
import re
from typing import Final

import pytest

from tests.support.pages import page
from tests.support.system import System
from tests.support.waiting import eventually

PAGE: Final = page("docs/how-to/move-to-another-account.md").text
OLD: Final = "bucket-of-the-old-account"


@pytest.fixture(scope="module", autouse=True)
def moved(system: System) -> None:
    """The files of the old bucket are copied as the page says, and loaded."""
    store = system.client("s3")
    store.create_bucket(Bucket=OLD)
    store.put_object(Bucket=OLD, Key="processed/moved.csv", Body=b"0009-0001,1483906366,9\n")
    store.put_object(Bucket=OLD, Key="processed/gateway-7/moved.3f2c.csv", Body=b"0009-0002,1483906366,9.5\n")
    store.put_object(Bucket=OLD, Key="refused/stays.csv", Body=b"0009-0003,1483906366,9.9\n")
    sync(system, "refused/", "refused-before-the-move/")
    sync(system, "processed/", "incoming/")
    copied = {"incoming/moved.csv", "incoming/gateway-7/moved.3f2c.csv"}
    eventually(lambda: not copied & system.object_keys(), 90, "both files to be loaded")


def test_the_rows_of_all_archived_files_and_of_no_other_are_in_the_new_table(system: System) -> None:
    assert {"0009-0001", "0009-0002"} == {sensor for sensor, *_ in system.readings("0009-")}


def test_files_that_were_never_loaded_are_kept(system: System) -> None:
    assert "refused-before-the-move/stays.csv" in system.object_keys()


def test_the_history_has_the_addresses_of_what_was_loaded_since_a_date(system: System) -> None:
    [command] = re.findall(r"sensor-ingest (history --since \S+ --json) \\\n", PAGE)
    entries = json.loads(system.run("-m", "deployments.cli", *command.split()))
    archived = {each["archived_to"] for each in entries if each["status"] == "archived"}
    assert system.uri("processed/moved.csv") in archived
    assert archived <= {system.uri(key) for key in system.object_keys()}


def sync(system: System, old: str, new: str) -> None:
    """Do what `aws s3 sync` does that the page has for these prefixes: the AWS CLI is no package of this project."""
    assert f"aws s3 sync s3://OLD/{old} s3://NEW/{new}\n" in PAGE
    store = system.client("s3")
    for found in store.list_objects_v2(Bucket=OLD, Prefix=old)["Contents"]:
        target = new + found["Key"].removeprefix(old)
        store.copy({"Bucket": OLD, "Key": found["Key"]}, system.outputs.bucket_name, target)
