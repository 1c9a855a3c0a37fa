"""The summary of a file's readings counts each reading once, for any number and order of readings."""

import io
from collections.abc import Sequence
from math import isnan
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pytest
from pydantic import ValidationError

from blocks.domain.limits import json_bytes
from blocks.domain.readings_summary import MOST_BUCKETS, ReadingsSummary, Timeline, joined
from flows.rows import ValidationSettings, validate_file
from flows.rows.aggregates import MAX_UNSAMPLED_READINGS, SAMPLED_ONE_IN, DistinctCodes
from flows.rows.key_encoding import DigitsCode

SMALL_BLOCKS = ValidationSettings(block_bytes=2000)
DAY = 86_400
START = 1_483_906_366


def summary_of(rows: Sequence[str], workspace: Path, rules: ValidationSettings = SMALL_BLOCKS) -> ReadingsSummary:
    summary = validate_file(io.BytesIO("\n".join(rows).encode()), workspace, rules).summary
    assert summary
    return summary


def timeline_of(summary: ReadingsSummary) -> Timeline:
    assert summary.timeline
    return summary.timeline


def rows_of(count: int, seed: int = 0) -> list[str]:
    random = Random(seed)  # noqa: S311 - no secret
    return [
        f"0000-{random.randrange(30):04d},{START + random.randrange(40 * DAY)},{random.gauss(20, 5):.2f}"
        for _ in range(count)
    ]


def test_the_summary_of_a_small_file_is_exact(tmp_path: Path) -> None:
    summary = summary_of(["0000-0001,1483906366,10.10", "0000-0002,1483906367,-5", "0000-0002,1483906366,20"], tmp_path)
    assert (2, 1_483_906_366, 1_483_906_367) == (summary.sensors, summary.first, summary.last)
    assert [(START, START + 1, 2, 10.1, 15.05, 20), (START + 1, START + 2, 1, -5, -5, -5)] == list(
        timeline_of(summary).buckets
    )
    assert 1 == timeline_of(summary).one_in


def test_a_row_that_a_later_row_replaces_is_not_in_the_summary_at_any_distance(tmp_path: Path) -> None:
    first, last = f"0000-0001,{START},1e9", f"0000-0001,{START},7"
    rows = [first, *rows_of(500), last]
    timeline = timeline_of(summary_of(rows, tmp_path))
    assert sum(timeline.counts) == len({row.rpartition(",")[0] for row in rows})
    assert max(bucket.high for bucket in timeline.buckets) < 1000


def test_a_refused_file_has_no_summary(tmp_path: Path) -> None:
    content = "\n".join([*rows_of(10), *["no row"] * 10])
    assert validate_file(io.BytesIO(content.encode()), tmp_path).summary is None


@pytest.mark.parametrize("order", ["random", "ascending", "descending"])
def test_every_reading_is_in_the_bucket_of_its_timestamp_in_any_order_of_rows(order: str, tmp_path: Path) -> None:
    rows = rows_of(3000)
    if order != "random":
        rows.sort(key=lambda row: row.split(",")[1], reverse=order == "descending")
    summary = summary_of(rows, tmp_path)
    timeline = timeline_of(summary)
    times = sorted(int(second) for _, second in {tuple(row.split(",")[:2]) for row in rows})
    assert (30, times[0], times[-1]) == (summary.sensors, summary.first, summary.last)
    assert len(timeline.at) <= MOST_BUCKETS < 2 * (times[-1] - times[0]) // timeline.width + 3
    assert [sum(bucket.start <= time < bucket.end for time in times) for bucket in timeline.buckets] == timeline.counts


def test_the_mean_of_a_sample_is_near_the_mean_of_all_values(tmp_path: Path) -> None:
    timeline = timeline_of(
        summary_of(rows_of(MAX_UNSAMPLED_READINGS + 1000), tmp_path, ValidationSettings(block_bytes=2**17))
    )
    known = [bucket for bucket in timeline.buckets if not isnan(bucket.mean)]
    mean = sum(bucket.mean * bucket.readings for bucket in known) / sum(bucket.readings for bucket in known)
    assert SAMPLED_ONE_IN == timeline.one_in
    assert 20 == pytest.approx(mean, abs=0.7)  # values are 20 +- 5, and about 2,000 of them are sampled


def test_the_largest_and_smallest_values_of_dynamodb_are_in_the_timeline(tmp_path: Path) -> None:
    values = ["9.9999999999999999999999999999999999999E+125", "-9.9E+125", "1E-130", "-1E-130", "0", "-0.0", "00.35"]
    rows = [f"0000-0001,{START + number},{value}" for number, value in enumerate(values)]
    timeline = timeline_of(summary_of(rows, tmp_path))
    assert [1e126, -9.9e125, 1e-130, -1e-130, 0, 0, 0.35] == [bucket.mean for bucket in timeline.buckets]


def test_the_longest_summary_is_less_than_3000_bytes_of_json_and_the_same_after_a_round_trip(tmp_path: Path) -> None:
    random = Random(1)  # noqa: S311
    rows = [
        f"{random.randrange(10**4):04d}-{random.randrange(10**4):04d},{random.randrange(10**9, 16 * 10**8)},"
        f"-{random.uniform(1, 9):.15f}E+1{random.randrange(26):02d}"
        for _ in range(5000)
    ]
    summary = summary_of(rows, tmp_path, ValidationSettings())
    assert MOST_BUCKETS // 2 <= len(timeline_of(summary).at)
    assert json_bytes(summary) < 3000
    assert summary == ReadingsSummary.model_validate_json(summary.model_dump_json())


@pytest.mark.parametrize("text", ["inf", "nan", "1e999", "1" * 400, "<b>", "1e+200"])
def test_a_timeline_with_a_text_that_is_not_a_finite_number_is_invalid(text: str) -> None:
    with pytest.raises(ValidationError, match="means"):
        Timeline(width=1, first=0, at=[0], counts=[1], lows=["1"], means=[text], highs=["1"])


def test_the_joined_timeline_of_several_files_counts_all_of_their_readings(tmp_path: Path) -> None:
    files = [rows_of(50, seed=1), rows_of(900, seed=2), [f"0000-0001,{START + 400 * DAY},1"]]
    parts = []
    for number, rows in enumerate(files):
        folder = tmp_path / str(number)
        folder.mkdir()
        parts.append(timeline_of(summary_of(rows, folder, ValidationSettings())))
    whole = joined(parts)
    assert whole
    assert sum(sum(part.counts) for part in parts) == sum(whole.counts)
    assert whole.at[-1] < MOST_BUCKETS
    lowest = min(float(row.rsplit(",", 1)[1]) for rows in files for row in rows)
    assert lowest == pytest.approx(min(bucket.low for bucket in whole.buckets), abs=1e-3)
    assert joined(reversed(parts)) == whole


def test_a_timeline_with_fewer_buckets_has_the_same_readings_and_extremes(tmp_path: Path) -> None:
    timeline = timeline_of(summary_of(rows_of(900), tmp_path, ValidationSettings()))
    coarse = joined([timeline], 6)
    assert coarse
    assert len(coarse.at) <= 6
    assert sum(timeline.counts) == sum(coarse.counts)
    assert max(float(high) for high in timeline.highs) == max(float(high) for high in coarse.highs)


def test_no_timelines_joined_are_none() -> None:
    assert joined([]) is None


def test_sensors_are_counted_exactly() -> None:
    sensors, random = DistinctCodes(), np.random.default_rng(0)
    parts = [random.integers(0, 10**8, 1000), np.arange(100), random.integers(0, 3000, 1000), np.array([10**8 - 1])]
    for codes in parts:
        sensors.add(codes)
    assert sensors.count == len(np.unique(np.concatenate(parts)))


def test_the_code_of_a_sensor_id_of_eight_digits_is_their_number() -> None:
    numbers = [0, 1, 10_000, 12_345_678, 99_999_999, 90_000_001]
    ids = pa.array([f"{number // 10**4:04d}-{number % 10**4:04d}" for number in numbers])
    code = DigitsCode.of_pattern(r"\d{4}-\d{4}")
    assert code
    assert numbers == code(ids).tolist()
    assert numbers[2:5] == code(ids.slice(2, 3)).tolist()
