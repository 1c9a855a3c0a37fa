"""What the things that flows hand to one another promise."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prefect.utilities.callables import parameter_schema
from prefect.utilities.schema_tools.validation import is_valid
from pydantic import ValidationError

from blocks.domain.models import FileReport, LedgerEntry, RowCounts, SensorFile, utc_text
from flows.ingest import ingest_sensor_files

COUNTS = st.integers(min_value=0, max_value=10**9)
KEYS = ["incoming/a.csv", "incoming/a b+c%20.csv", "incoming/Zürich 😀.csv", 'incoming/"it\'s".csv', "/a.csv"]


def accepted_by_prefect(value: Any) -> bool:  # noqa: ANN401 - whatever somebody puts into the list
    """Whether the Prefect server, which holds parameters against the flow's JSON schema, would start a run with it."""
    schema = parameter_schema(ingest_sensor_files).model_dump_for_openapi()
    return is_valid({"objects": [value]}, schema)


# ---- Counts -------------------------------------------------------------------------------------------------------


@given(header=st.integers(0, 1), blank=COUNTS, accepted=COUNTS, replaced=COUNTS, rejected=COUNTS)
def test_counts_that_account_for_every_line_are_taken(
    header: int, blank: int, accepted: int, replaced: int, rejected: int
) -> None:
    rows = accepted + replaced + rejected
    counts = RowCounts(
        lines=header + blank + rows,
        header=header,
        blank=blank,
        rows=rows,
        accepted=accepted,
        replaced=replaced,
        rejected=rejected,
    )
    assert rows == counts.rows


@given(field=st.sampled_from(["lines", "blank", "rows", "accepted", "replaced", "rejected"]), too_many=COUNTS)
def test_counts_that_lose_a_line_or_make_one_up_can_not_be_made(field: str, too_many: int) -> None:
    right = {"lines": 9, "header": 0, "blank": 1, "rows": 8, "accepted": 6, "replaced": 1, "rejected": 1}
    with pytest.raises(ValidationError, match="do not add up"):
        RowCounts(**right | {field: right[field] + too_many + 1})


@pytest.mark.parametrize("field", ["lines", "header", "blank", "rows", "accepted", "replaced", "rejected"])
def test_no_count_is_negative(field: str) -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        RowCounts.model_validate({field: -1})


def test_a_report_whose_counts_do_not_add_up_can_not_be_made() -> None:
    with pytest.raises(ValidationError, match="rows do not add up"):
        FileReport(bucket="landing", key="incoming/a.csv", status="archived", lines=8, rows=8, accepted=7)


# ---- Files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", KEYS)
def test_the_address_of_a_file_stands_for_the_file(key: str) -> None:
    assert SensorFile(bucket="landing", key=key) == SensorFile.model_validate(f"s3://landing/{key}")


@pytest.mark.parametrize("key", KEYS)
def test_a_file_gives_the_address_that_it_was_made_from(key: str) -> None:
    assert f"s3://landing/{key}" == SensorFile.model_validate(f"s3://landing/{key}").uri


@pytest.mark.parametrize(
    "value", ["a.csv", "https://landing/a.csv", "s3://landing", 7, None, {"bucket": "landing"}, "s3://landing/\0"]
)
def test_what_names_no_object_is_no_file(value: object) -> None:
    with pytest.raises(ValidationError):
        SensorFile.model_validate(value)


@pytest.mark.parametrize(
    "value",
    [
        *(f"s3://landing/{key}" for key in KEYS),
        *({"bucket": "landing", "key": key} for key in KEYS),
        {"bucket": "landing", "key": "a.csv", "version_id": None, "etag": "e", "size": 0, "sequencer": None},
        {"bucket": "landing", "key": "a.csv", "something": "that a later relay sends"},
    ],
)
def test_prefect_takes_addresses_and_objects_as_parameters(value: object) -> None:
    assert True is accepted_by_prefect(value)


@pytest.mark.parametrize("value", ["a.csv", "s3://landing", 7, None, {"bucket": "landing"}, {"key": "a.csv"}])
def test_prefect_refuses_a_parameter_that_names_no_object_before_a_run_starts(value: object) -> None:
    assert False is accepted_by_prefect(value)


def test_files_that_are_the_same_are_one_in_a_set() -> None:
    assert 1 == len({SensorFile.model_validate("s3://landing/a.csv"), SensorFile(bucket="landing", key="a.csv")})


@pytest.mark.parametrize(
    ("version", "version_id", "etag"),
    [("v1", "v1", "e1"), ("e1", None, "e1"), ("e1", "null", "e1"), (None, "null", None), (None, None, None)],
)
def test_the_version_is_what_tells_two_contents_of_one_key_apart(
    version: str | None, version_id: str | None, etag: str | None
) -> None:
    assert version == SensorFile(bucket="landing", key="a.csv", version_id=version_id, etag=etag).version


# ---- Moments and entries ------------------------------------------------------------------------------------------


def test_moments_as_text_sort_like_the_moments_whatever_their_time_zones() -> None:
    noon = datetime(2026, 11, 22, 12, tzinfo=UTC)
    in_tokyo = (noon + timedelta(milliseconds=1)).astimezone(timezone(timedelta(hours=9)))
    assert ["2026-11-22T12:00:00.000+00:00", "2026-11-22T12:00:00.001+00:00"] == sorted(map(utc_text, [in_tokyo, noon]))


def test_a_ledger_entry_survives_its_way_through_json_and_back() -> None:
    entry = LedgerEntry(
        bucket="landing",
        key="incoming/Zürich.csv",
        version="v1",
        status="loading",
        claimed_at=datetime(2026, 11, 22, 20, 25, 0, 123000, tzinfo=UTC),
    )
    assert entry == LedgerEntry.model_validate_json(entry.model_dump_json())


def test_a_ledger_entry_is_made_of_the_decimals_that_dynamodb_gives() -> None:
    entry: dict[str, Any] = {"bucket": "landing", "key": "a.csv", "version": "v1", "status": "archived"}
    entry |= {"claimed_at": "2026-11-22T20:25:00.000+00:00", "reasons": {"value": Decimal(1)}}
    counts = {"lines": Decimal(8), "rows": Decimal(8), "accepted": Decimal(7), "rejected": Decimal(1)}
    made = LedgerEntry.model_validate(entry | counts)
    assert (8, {"value": 1}) == (made.rows, made.reasons)
