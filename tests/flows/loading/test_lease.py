"""What a run that fails gives back, and whether the file is blamed for it."""

import errno
import logging
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from prefect_aws.credentials import AwsCredentials

from blocks.domain.errors import ArchiveError, BlockInvalidError, BlockMissingError, DaskMissingError
from blocks.domain.models import LedgerEntry
from blocks.file_ledger import FileLedger
from flows.loading import lease
from flows.loading.lease import lease_kept

ENTRY = LedgerEntry(
    bucket="landing",
    key="incoming/a.csv",
    version="v1",
    status="loading",
    claimed_at=datetime(2026, 11, 22, tzinfo=UTC),
)


@pytest.mark.parametrize(
    ("error", "blames_the_file"),
    [
        (ArchiveError("the copy is not whole"), True),
        (ValueError("what nobody thought of"), True),
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EMFILE, "Too many open files"), False),
        (TimeoutError("a scheduler does not answer"), False),
        (DaskMissingError(), False),
        (BlockInvalidError("sensor-landing-zone/sensor-ingest", ["bucket: too short"]), False),
        (BlockMissingError("sensor-landing-zone/sensor-ingest", "http://server"), False),
        (httpx.ConnectError("the Prefect server is away"), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_only_what_the_file_may_have_caused_counts_against_it(
    monkeypatch: pytest.MonkeyPatch, error: Exception, *, blames_the_file: bool
) -> None:
    given_back: list[tuple[str, bool]] = []

    def release(_: FileLedger, __: LedgerEntry, problem: str, **asked: Any) -> None:  # noqa: ANN401 - keywords
        given_back.append((problem, asked["counts"]))

    monkeypatch.setattr(lease, "get_run_logger", lambda: logging.getLogger("tests"))
    monkeypatch.setattr(FileLedger, "release", release)
    with pytest.raises(type(error)), lease_kept(ENTRY, FileLedger(credentials=AwsCredentials(), table_name="files")):
        raise error
    assert [(str(error), blames_the_file)] == given_back
