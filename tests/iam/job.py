"""The whole job in one stack: each story is what relay and runs do about files of its own, with their credentials."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NoReturn

import pytest

from blocks.domain.errors import PermissionMissingError
from blocks.domain.models import FileReport, Notification, SensorFile
from blocks.dynamodb.errors import RowRefusedError
from blocks.file_ledger.claiming import Owned
from blocks.landing_zone import LandingZone
from blocks.readings_table import ReadingsTable
from blocks.stack_outputs import StackOutputs
from deployments.relay.relay import Relay
from deployments.relay.sqs_queue import SqsQueue
from deployments.relay.stop_signal import StopSignal
from flows import sweep as sweeping
from flows.notification.overdue import take_up_overdue_emails
from flows.sweep import sweep
from tests.flows.ingest_runs import ingest_files
from tests.flows.recovery.slots import SetSlots
from tests.iam.installation import Installation
from tests.support.table_time import table_time_later

ROWS = "".join(f"{{sensor}},{1_483_906_366 + second},1\n" for second in range(30))
"""Thirty good rows of a sensor."""


@dataclass
class Job:
    """A relay whose events are noted, and ingest runs in this process."""

    stack: Installation
    announced: list[SensorFile] = field(default_factory=list)

    def announce(self, files: Sequence[SensorFile], _prefix: str, _occasion: str) -> None:
        self.announced += files

    def relay(self) -> Relay:
        sqs = self.stack.aws.client("sqs", self.stack.relay)
        outputs = StackOutputs.read(self.stack.name, self.stack.aws.client("cloudformation", self.stack.relay))
        queue = SqsQueue(sqs, outputs.queue_url)
        return Relay(queue, outputs.incoming_prefix, SetSlots(), lambda: self.stack.relay_ledger, self.announce)

    def drop(self, name: str, content: str, **how: str) -> None:
        """Upload a file, as a team does that has access to the bucket."""
        bucket, key = self.stack.outputs.bucket_name, f"incoming/{name}"
        self.stack.aws.client("s3").put_object(Bucket=bucket, Key=key, Body=content.encode(), **how)

    def relayed(self, *names: str) -> list[SensorFile]:
        """The files of these names as the relay announces them, once it has all of their messages."""
        relay, before = self.relay(), len(self.announced)
        for _ in range(10):
            relay.relay_once(StopSignal(), wait_seconds=1)
            found = [file for file in self.announced[before:] if file.name in names]
            if {file.name for file in found} == set(names):
                return found
        raise AssertionError(f"{names} were not announced, but {self.announced[before:]}")

    def taken_up(self, name: str) -> SensorFile:
        """The file of that name, which is due, as the relay announces it again."""
        before = len(self.announced)
        self.relay().take_up_due_files()
        [file] = [each for each in self.announced[before:] if each.name == name]
        return file

    def loaded(self, *files: SensorFile, force: bool = False) -> dict[str, FileReport]:
        """What a run reports of the files, by name; the last version of each."""
        return {report.name: report for report in ingest_files(*files, force=force)[1].files}

    def keys(self, bucket: str | None = None) -> set[str]:
        s3 = self.stack.aws.client("s3")
        listed = s3.list_objects_v2(Bucket=bucket or self.stack.outputs.bucket_name).get("Contents", [])
        return {each["Key"] for each in listed}

    def values_of(self, sensor: str) -> set[Decimal]:
        items = self.stack.aws.client("dynamodb").query(
            TableName=self.stack.outputs.readings_table_name,
            KeyConditionExpression="sensor_id = :sensor",
            ExpressionAttributeValues={":sensor": {"S": sensor}},
        )["Items"]
        return {Decimal(item["value"]["N"]) for item in items}

    def mails_about(self, name: str) -> int:
        return sum(name in str(mail) for mail in self.stack.aws.mails())

    # ---- The stories ----------------------------------------------------------------------------------------------

    def good_and_bad_files(self) -> None:
        """Files are dropped, announced, loaded or refused, moved, and emailed about."""
        stack = self.stack.name
        good, partly, refused = (f"{stack}-{kind}.csv" for kind in ("good", "partly", "refused"))
        self.drop(good, ROWS.format(sensor="0001-0001"), Tagging="team=weather")
        self.drop(partly, ROWS.format(sensor="0001-0002") + "0001-0002,soon,1\n")
        self.drop(refused, "nonsense\n", Tagging="team=weather")
        reports = self.loaded(*self.relayed(good, partly, refused))
        assert {good: "archived", partly: "archived", refused: "refused"} == {
            name: report.status for name, report in reports.items()
        }
        assert {Decimal(1)} == self.values_of("0001-0001") == self.values_of("0001-0002")
        assert {f"processed/{good}", f"processed/{partly}"} <= self.keys(self.stack.outputs.processed_bucket_name)
        assert {f"refused/{refused}", f"rejects/{partly}.rejects.csv"} <= self.keys()
        assert not {f"incoming/{name}" for name in (good, partly, refused)} & self.keys()
        assert self.mails_about(good)

    def newer_version_meanwhile(self) -> None:
        """A file is replaced while it is loaded; its newer version is loaded next."""
        name = f"{self.stack.name}-newer.csv"
        self.drop(name, "0002-0001,1483906366,1\n")
        files, write, dropped = self.relayed(name), ReadingsTable.write, list[str]()

        def write_while_it_is_replaced(table: ReadingsTable, *rows: Any, **more: Any) -> int:  # noqa: ANN401 - as `write`
            if not dropped:
                dropped.append(name)
                self.drop(name, "0002-0001,1483906366,2\n")
                self.loaded(*self.relayed(name))
            return write(table, *rows, **more)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ReadingsTable, "write", write_while_it_is_replaced)
            assert "archived" == self.loaded(*files)[name].status
        assert {Decimal(2)} == self.values_of("0002-0001")

    def load_that_is_tried_again(self) -> None:
        """DynamoDB refuses rows for a while; the relay announces the file again, and it is loaded."""
        name = f"{self.stack.name}-again.csv"
        self.drop(name, "0003-0001,1483906366,1\n")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ReadingsTable, "write", _not_now)
            assert "failed" == self.loaded(*self.relayed(name))[name].status
        with table_time_later(3600):
            assert "archived" == self.loaded(self.taken_up(name))[name].status
        assert {Decimal(1)} == self.values_of("0003-0001")

    def file_that_fails_for_good(self) -> None:
        """A file whose loads fail too often moves to `failed/`."""
        name, beside = f"{self.stack.name}-poison.csv", f"{self.stack.name}-beside.csv"
        self.drop(name, "0004-0001,1483906366,1\n")
        files = self.relayed(name)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ReadingsTable, "write", _broken)
            for _ in range(self.stack.ledger.attempts):
                assert "failed" == self.loaded(*files)[name].status
        self.drop(beside, "0004-0002,1483906366,1\n")  # another file is loaded, so this one is to blame
        assert "archived" == self.loaded(*self.relayed(beside))[beside].status
        self.loaded(*files)
        assert f"failed/{name}" in self.keys()

    def late_writes(self) -> None:
        """Rows of an older load may have come late: the archived version is written again."""
        name = f"{self.stack.name}-late.csv"
        self.drop(name, "0005-0001,1483906366,1\n")
        [file] = self.relayed(name)
        self.loaded(file)
        long_ago = datetime(2026, 1, 1, tzinfo=UTC)
        self.stack.ledger.change(file.bucket, file.key, lambda claim: claim.overtaken(0, "v0", long_ago))
        self._forget("0005-0001")
        self.loaded(self.taken_up(name))
        assert {Decimal(1)} == self.values_of("0005-0001")

    def load_by_force(self) -> None:
        """A person has an archived file loaded again."""
        name = f"{self.stack.name}-force.csv"
        self.drop(name, "0006-0001,1483906366,1\n")
        [file] = self.relayed(name)
        self.loaded(file)
        self._forget("0006-0001")
        self.loaded(SensorFile(bucket=file.bucket, key=file.key), force=True)
        assert {Decimal(1)} == self.values_of("0006-0001")

    def large_file(self) -> None:
        """A file that S3 copies in parts only."""
        name = f"{self.stack.name}-large.csv"
        self.drop(name, "0007-0001,1483906366,1\n")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(LandingZone, "copy_in_one_bytes", 0)
            assert "archived" == self.loaded(*self.relayed(name))[name].status
        assert f"processed/{name}" in self.keys(self.stack.outputs.processed_bucket_name)

    def sweep_without_a_relay(self) -> None:
        """The event of a file was lost; a sweep finds it in the bucket."""
        name = f"{self.stack.name}-stranded.csv"
        self.drop(name, "0008-0001,1483906366,1\n")
        self.stack.aws.client("sqs").purge_queue(QueueUrl=self.stack.outputs.queue_url)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sweeping, "DeploymentSlots", SetSlots)  # there is no deployment to ask for its slots
            patch.setattr(sweeping, "announce", self.announce)
            sweep(0)
        [file] = [each for each in self.announced if each.name == name]
        assert "archived" == self.loaded(file)[name].status

    def ingest_run_that_died(self) -> None:
        """The relay makes the email of an ingest run that died after it had settled a file, and starts its run."""
        name, email, sent = f"{self.stack.name}-died.csv", f"{self.stack.name}-of-the-dead", list[str]()
        self.drop(name, "0009-0001,1483906366,1\n")
        [file] = self.relayed(name)
        ledger, found = self.stack.ledger, self.stack.zone.describe(file)
        assert found is not None
        ledger.collect(email, [file], 0)
        owned = ledger.claim(found, "claim of the dead", "a run that died", email_id=email)
        assert isinstance(owned, Owned)
        settled = {"status": "archived", "archived_to": file.uri.replace("incoming/", "processed/")}
        ledger.settle(owned.held, owned.entry.model_copy(update={**settled, "finished_at": datetime.now(UTC)}))

        def send(_reports: Sequence[FileReport], email_id: str) -> Notification:
            sent.append(email_id)
            return Notification(flow_run_id="run", flow_run_name="run", state="Scheduled", due_at=None)

        for seconds in (70, 200):
            with table_time_later(seconds):
                take_up_overdue_emails(self.stack.relay_ledger, send)
        assert [email] == sent

    def relay_that_stops(self) -> None:
        """A relay that is stopped releases its messages; it says how many wait."""
        name = f"{self.stack.name}-released.csv"
        self.drop(name, "0010-0001,1483906366,1\n")
        relay = self.relay()
        messages = relay.queue.receive(StopSignal(), 5)
        assert messages
        relay.queue.release(messages)
        assert relay.queue.backlog()
        assert "archived" == self.loaded(*self.relayed(name))[name].status

    def _forget(self, sensor: str) -> None:
        self.stack.aws.client("dynamodb").delete_item(
            TableName=self.stack.outputs.readings_table_name,
            Key={"sensor_id": {"S": sensor}, "timestamp": {"N": "1483906366"}},
        )


STORIES = (
    Job.good_and_bad_files,
    Job.load_that_is_tried_again,
    Job.file_that_fails_for_good,
    Job.late_writes,
    Job.load_by_force,
    Job.large_file,
    Job.sweep_without_a_relay,
    Job.ingest_run_that_died,
    Job.relay_that_stops,
)
WITH_VERSIONS = (Job.newer_version_meanwhile,)
"""Without versions, the bytes that were loaded are gone by then: that load fails, and the next one has the new ones."""


def _not_now(*_: object, **__: object) -> NoReturn:
    raise PermissionMissingError("dynamodb:BatchWriteItem", "the table", "a block")


def _broken(*_: object, **__: object) -> NoReturn:
    raise RowRefusedError("readings", "a row", "as a test has it")
