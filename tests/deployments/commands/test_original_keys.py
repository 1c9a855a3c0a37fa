"""The key that a failed or refused file landed under: the same name, unless the ledger put a version into it."""

from datetime import UTC, datetime

import pytest

from blocks.domain.models import LedgerEntry
from deployments.commands.retry.original_keys import original_key

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def landed(key: str, *, version: str = "V.1_2", archived_to: str | None = None) -> LedgerEntry:
    return LedgerEntry(
        bucket="landing", key=key, version=version, status="refused", archived_to=archived_to, claimed_at=NOW
    )


def found(key: str, *entries: LedgerEntry) -> str | None:
    def entries_of(_bucket: str, asked: str) -> list[LedgerEntry]:
        return [entry for entry in entries if entry.key == asked]

    return original_key("landing", key, key[: key.index("/") + 1], "incoming/", entries_of)


def test_a_file_that_no_entry_is_about_keeps_its_name() -> None:
    assert "incoming/2026.11/a.V.1_2.csv" == found("failed/2026.11/a.V.1_2.csv")
    assert "incoming/a.V.1_2.csv" == found("failed/a.V.1_2.csv", landed("incoming/a.csv"))


@pytest.mark.parametrize(
    ("key", "name"), [("d.1/a.V.1_2.csv", "d.1/a.csv"), ("a.V.1_2.csv.gz", "a.csv.gz"), ("d.1/a.V.1_2", "d.1/a")]
)
def test_a_version_is_taken_out_if_the_ledger_put_that_version_there(key: str, name: str) -> None:
    entry = landed(f"incoming/{name}", archived_to=f"s3://landing/failed/{key}")
    assert f"incoming/{name}" == found(f"failed/{key}", entry)


def test_a_file_that_was_uploaded_with_such_a_name_keeps_it() -> None:
    own = landed("incoming/a.put-back.csv", archived_to="s3://landing/failed/a.put-back.csv")
    assert "incoming/a.put-back.csv" == found("failed/a.put-back.csv", own)
    assert "incoming/a.csv" == found("failed/a.put-back.csv")


def test_rejects_are_no_file_unless_the_ledger_says_that_they_were_uploaded_as_one() -> None:
    entries = [landed("incoming/a.csv", archived_to="s3://landing/refused/a.csv")]
    assert None is found("refused/a.csv.rejects.csv", *entries)
    uploaded = landed("incoming/a.csv.rejects.csv", archived_to="s3://landing/refused/a.csv.rejects.csv")
    assert "incoming/a.csv.rejects.csv" == found("refused/a.csv.rejects.csv", *entries, uploaded)
