"""Each CSV file in tests/data is a test; its expected outcome is in a JSON file. See tests/data/README.md."""

import io
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from flows.rows import ValidatedFile, validate_file
from tests.flows.rows.streams_and_rows import read_csv, rows_of
from tests.support.feeds import sensor_settings

DATA = Path(__file__).parents[2] / "data"
CASES = sorted(path.name.removesuffix(".expected.json") for path in DATA.glob("*.expected.json"))


class Trickle(io.BytesIO):
    """A stream that returns three bytes per read. Network bodies return few bytes, too."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(3, size) if size and size > 0 else 3)


def expected_of(name: str) -> dict[str, Any]:
    expected: dict[str, Any] = json.loads((DATA / f"{name}.expected.json").read_text(encoding="utf-8"))
    return expected


def outcome(file: ValidatedFile) -> dict[str, Any]:
    rejects = [reject.model_dump() for reject in file.first_rejects]
    refusal = {"refusal": file.refusal} if file.refusal else {}
    return {
        **file.counts.model_dump(),
        "verdict": file.verdict,
        "reasons": file.reasons,
        "first_rejects": rejects,
        "readings": [(sensor_id, timestamp, Decimal(value)) for sensor_id, timestamp, value in rows_of(file)],
        **refusal,
    }


def without_comments(expected: dict[str, Any]) -> dict[str, Any]:
    readings = [(sensor_id, timestamp, Decimal(value)) for sensor_id, timestamp, value in expected["readings"]]
    return {key: value for key, value in expected.items() if key not in {"about", "rules"}} | {"readings": readings}


@pytest.mark.parametrize("name", CASES)
def test_a_file_has_its_expected_outcome(name: str, tmp_path: Path) -> None:
    expected = expected_of(name)
    with (DATA / f"{name}.csv").open("rb") as source:
        file = validate_file(source, tmp_path, sensor_settings(**expected.get("rules", {})))
    assert without_comments(expected) == outcome(file)


@pytest.mark.parametrize("name", CASES)
def test_a_file_in_chunks_and_blocks_of_a_few_bytes_has_the_same_outcome(name: str, tmp_path: Path) -> None:
    expected = expected_of(name)
    source = Trickle((DATA / f"{name}.csv").read_bytes())
    file = validate_file(source, tmp_path, sensor_settings(**{"block_bytes": 7} | expected.get("rules", {})))
    assert without_comments(expected) == outcome(file)


@pytest.mark.parametrize("name", CASES)
def test_the_reject_file_is_a_csv_of_all_rejected_rows(name: str, tmp_path: Path) -> None:
    expected = expected_of(name)
    with (DATA / f"{name}.csv").open("rb") as source:
        file = validate_file(source, tmp_path, sensor_settings(**expected.get("rules", {})))
    rows = read_csv(file.rejects_path) if file.rejects_path else []
    assert expected["rejected"] == len(rows)
    first = [(str(reject["line"]), reject["reason"], reject["text"]) for reject in expected["first_rejects"]]
    assert first == [(line, reason, text.removeprefix("'")) for line, reason, text in rows[: len(first)]]


def test_values_have_forms_that_dynamodb_documents(tmp_path: Path) -> None:
    """Its documentation shows a sign only for negative numbers, and digits on both sides of a decimal point."""
    with (DATA / "values.csv").open("rb") as source:
        values = [value for _, _, value in rows_of(validate_file(source, tmp_path))]
    assert [] == [value for value in values if not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", value)]


def test_every_data_file_has_an_expectation_file() -> None:
    assert CASES == sorted(path.stem for path in DATA.glob("*.csv"))
