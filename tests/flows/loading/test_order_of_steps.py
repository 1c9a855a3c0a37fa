"""A file is copied, its entry is settled, and only then the original is deleted; its current version is read."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from blocks.domain.feed.descriptor import SENSOR_READINGS
from blocks.domain.feed.selection import Feeds
from blocks.domain.models import LedgerEntry, SensorFile
from flows.loading import tasks
from flows.loading.step_runs import within_task_run

FILE = SensorFile(bucket="landing", key="incoming/a.csv", version_id="v1")
TABLE = SimpleNamespace(show_rows=True)
NOW = datetime(2026, 11, 22, tzinfo=UTC)
ENTRY = LedgerEntry(bucket="landing", key=FILE.key, version="v1", status="loading", claimed_at=NOW)


class Zone:
    """Notes what is done with the object."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.is_current = True

    def store_copy(self, file: SensorFile, _status: str) -> str:
        self.done.append("copied")
        return f"s3://{file.bucket}/processed/a.csv"

    def remove(self, _: SensorFile) -> bool:
        self.done.append("deleted")
        return self.is_current

    @contextmanager
    def opened(self, _: SensorFile) -> Iterator[BytesIO]:
        self.done.append("opened a version")
        yield BytesIO(b"sensor_id,timestamp,value\n")

    @contextmanager
    def opened_current(self, _: SensorFile) -> Iterator[BytesIO]:
        self.done.append("opened the current version")
        yield BytesIO(b"sensor_id,timestamp,value\n")


class Lease:
    """Notes the settlement between the steps of the zone."""

    key_stays_held = False

    def __init__(self, zone: Zone) -> None:
        self._zone = zone

    def settle(self, entry: LedgerEntry) -> LedgerEntry:
        self._zone.done.append("settled")
        return entry


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Zone:
    zone = Zone()
    blocks = SimpleNamespace(landing_zone=zone, feeds=Feeds([SENSOR_READINGS]), readings_table=TABLE)
    monkeypatch.setattr(tasks, "run_blocks", lambda: blocks)
    monkeypatch.setattr(tasks, "_emit", lambda *_: None)
    return zone


def settle(zone: Zone) -> Lease:
    lease: Any = Lease(zone)
    tasks._settle(FILE, ENTRY, "archived", lease, event="loaded")  # noqa: SLF001 - each last step of a version uses it
    settled: Lease = lease
    return settled


def test_a_file_is_copied_then_settled_then_deleted(zone: Zone) -> None:
    assert not settle(zone).key_stays_held
    assert ["copied", "settled", "deleted"] == zone.done


def test_a_run_goes_on_if_the_original_is_another_version_by_now(zone: Zone) -> None:
    zone.is_current = False
    assert settle(zone).key_stays_held


def test_what_is_validated_is_read_on_the_condition_that_it_is_still_the_current_version(
    zone: Zone, tmp_path: Path
) -> None:
    within_task_run(tasks.validate_rows)(FILE, tmp_path, FILE.key)
    assert ["opened the current version"] == zone.done
