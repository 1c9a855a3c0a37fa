"""The ledger of version 0.1, for a test of the simulation: it must find the overwrite that this ledger allowed.

There was an entry for each version, with a status and a lease, and no claim of the key. A run looked for leases on
other versions in an index, which lags; the worker's own clock said when a lease ends; and nothing was asked before rows
were sent. Conditions and the order of steps are those of `blocks/file_ledger/claims.py` and `flows/loading/tasks.py` in
version 0.1; an entry has only what they look at.
"""

from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from blocks.domain.models import utc_text
from blocks.file_ledger.table import from_item, to_item
from blocks.runtime import installed, runtime
from tests.simulation.aws.s3 import Version
from tests.simulation.world import World

BUCKET: Final = "landing"
KEY: Final = "incoming/a.csv"
FILE: Final = f"{BUCKET}/{KEY}"
SENSORS: Final = 6
LEASE_SECONDS: Final = 60.0
"""It was 900 by default; shorter, as in its fault tests, so that short stalls outlast it."""

UNSETTLED: Final = "#status IN (:loading, :loaded)"
BY_THIS_RUN: Final = "flow_run_id = :run"
NEVER_CLAIMED: Final = "attribute_not_exists(#file)"
LEASE_EXPIRED: Final = f"({UNSETTLED} AND lease_until < :now)"
CLAIMED_BY_THIS_RUN: Final = f"({UNSETTLED} AND {BY_THIS_RUN})"

Entry = dict[str, Any]


class ClaimedElsewhereError(Exception):
    """Another run has a lease on this or another version of the file."""


class LedgerOf01:
    """The calls that claim a version, renew its lease, and record what became of it."""

    def __init__(self, world: World) -> None:
        self._client = world.client("dynamodb")

    def claim(self, version: str, run: str) -> Entry:
        """The entry of this version: status `loading` if this run has claimed it, else as another run left it.

        Raises:
            ClaimedElsewhereError: another run has a lease on this or another version of the file.
        """
        entry = {
            "file": FILE,
            "version": version,
            "status": "loading",
            "in_hand": FILE,
            "flow_run_id": run,
            "lease_until": self._lease_end(),
        }
        self._refuse_if_another_version_is_leased(entry)
        existing = self._put(entry, NEVER_CLAIMED)
        if existing and existing["status"] != "archived":
            existing = self._put(entry, f"{LEASE_EXPIRED} OR {CLAIMED_BY_THIS_RUN}")
        if existing is None:
            return entry
        if existing["status"] != "archived":
            raise ClaimedElsewhereError
        return existing

    def renew(self, entry: Entry) -> bool:
        """Whether this run still has its claim."""
        values = {":until": self._lease_end(), ":loading": "loading", ":loaded": "loaded", ":run": entry["flow_run_id"]}
        try:
            self._client.update_item(
                TableName="files",
                Key=to_item({"file": FILE, "version": entry["version"]}),
                UpdateExpression="SET lease_until = :until",
                ConditionExpression=CLAIMED_BY_THIS_RUN,
                ExpressionAttributeNames={"#status": "status"},
                ExpressionAttributeValues=to_item(values),
            )
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    def record(self, entry: Entry, **results: object) -> None:
        """Write the entry with its results.

        Raises:
            ClaimedElsewhereError: another run has claimed the version since.
        """
        if self._put(entry | results, f"{NEVER_CLAIMED} OR {BY_THIS_RUN}"):
            raise ClaimedElsewhereError

    def _refuse_if_another_version_is_leased(self, entry: Entry) -> None:
        found = self._client.query(
            TableName="files",
            IndexName="in-hand",
            KeyConditionExpression="in_hand = :file AND lease_until > :now",
            ExpressionAttributeValues=to_item({":file": FILE, ":now": utc_text(runtime().utc_now())}),
        )
        for item in found["Items"]:
            if item["version"]["S"] != entry["version"]:
                raise ClaimedElsewhereError

    def _put(self, entry: Entry, condition: str) -> Entry | None:
        """None if the entry was written; else the existing entry, which did not meet the condition."""
        if entry["status"] == "archived":
            entry = {name: value for name, value in entry.items() if name not in ("in_hand", "lease_until")}
        known = {
            ":loading": "loading",
            ":loaded": "loaded",
            ":run": entry["flow_run_id"],
            ":now": utc_text(runtime().utc_now()),
        }
        names = {"#file": "file", "#status": "status"}
        values = to_item(_used(known, condition))
        item = to_item(entry)
        try:
            self._client.put_item(
                TableName="files",
                Item=item,
                ConditionExpression=condition,
                ExpressionAttributeNames=_used(names, condition),
                **({"ExpressionAttributeValues": values} if values else {}),
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )
        except self._client.exceptions.ConditionalCheckFailedException as error:
            existing = error.response["Item"]
            return None if existing == item else from_item(existing)
        return None

    @staticmethod
    def _lease_end() -> str:
        return utc_text(runtime().utc_now() + timedelta(seconds=LEASE_SECONDS))


def overwrite(world: World) -> None:
    """Two versions drop, each with all rows; runs load them until `incoming/` is empty. The newer rows must stay."""
    indexes = {"in-hand": ("in_hand", "lease_until", None)}
    world.dynamodb.create_table("files", "file", "version", indexes)
    bucket = world.s3.create_bucket(BUCKET)
    bucket.on_created.append(partial(_announce, world))
    for number, at in enumerate((0.0, world.random.uniform(0, 60)), start=1):
        content = "\n".join(f"{sensor},{number}" for sensor in range(SENSORS)).encode()
        world.scheduler.at(at, partial(world.s3.client.put_object, Bucket=BUCKET, Key=KEY, Body=content))
    with installed(world.runtime):  # type: ignore[arg-type] # it has all that Runtime has
        world.run(3600)
    table = world.readings.rows
    if not bucket.keys("incoming/"):  # else the newer version was not loaded, by which time nothing can be wrong
        older = sum(value == "1" for value in table.values())
        assert not older, f"{older} of {len(table)} rows are of the older version"


def _announce(world: World, _bucket: str, version: Version) -> None:
    """Runs for the version, one after the other, as its event and then the sweeps start them."""
    if version.key == KEY:
        for minute in range(10):
            name = f"run-{version.content[-1:].decode()}-{minute}"
            world.scheduler.later(2 + 90 * minute, world.process, name, partial(_run, world, name))


def _run(world: World, run: str) -> None:
    ledger, s3 = LedgerOf01(world), world.client("s3")
    try:
        found = s3.head_object(Bucket=BUCKET, Key=KEY)
        entry = ledger.claim(found["VersionId"], run)
        if entry["status"] == "archived":
            s3.delete_object(Bucket=BUCKET, Key=KEY, IfMatch=found["ETag"])
            return
        with runtime().repeated(partial(ledger.renew, entry), LEASE_SECONDS / 3, "lease"):
            _load(world, ledger, entry, found)
    except (ClaimedElsewhereError, BotoCoreError, ClientError) as error:
        runtime().log().warning("%r", error)


def _load(world: World, ledger: LedgerOf01, entry: Entry, found: Mapping[str, Any]) -> None:
    s3, version = world.client("s3"), entry["version"]
    lines = s3.get_object(Bucket=BUCKET, Key=KEY, VersionId=version)["Body"].read().decode().split()
    rows = [(sensor, 0, value) for sensor, value in (line.split(",") for line in lines)]
    world.readings.write(rows, version=version, batch_rows=1, connections=2)
    ledger.record(entry, status="loaded", lease_until=ledger._lease_end())  # noqa: SLF001 - as `record` did itself
    source = {"Bucket": BUCKET, "Key": KEY, "VersionId": version}
    s3.copy_object(CopySource=source, Bucket=BUCKET, Key=f"processed/{version}.csv")
    ledger.record(entry, status="archived")
    s3.delete_object(Bucket=BUCKET, Key=KEY, IfMatch=found["ETag"])


def _used(placeholders: Mapping[str, str], condition: str) -> dict[str, str]:
    return {name: value for name, value in placeholders.items() if name in condition}
