"""The commands `feed list`, `show`, `check` and `infer`, on feeds in files."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from typer.testing import CliRunner, Result

from blocks.domain.feed.descriptor import SENSOR_READINGS, FeedInvalidError
from deployments.cli import app
from deployments.commands.feed.descriptor_text import descriptor_text
from deployments.server.feed_files import feeds_in_files


@pytest.fixture(autouse=True)
def without_a_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        yield


def feed(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["feed", *map(str, arguments)])


def inferred(content: str | bytes, name: str = "sample.csv") -> tuple[dict[str, Any], str]:
    """The descriptor that was guessed, which can be used, and what is not sure about it."""
    Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
    result = feed("infer", name)
    assert 0 == result.exit_code, result.stderr
    Path("feed.json").write_text(result.stdout, encoding="utf-8")
    assert 0 == feed("check", "feed.json").exit_code, feed("check", "feed.json").stdout
    return json.loads(result.stdout), result.stderr


def fields(descriptor: dict[str, Any]) -> dict[str, Any]:
    return {field["name"]: field for field in descriptor["schema"]["fields"]}


# ---- list, show, check ----------------------------------------------------------------------------------------------


def test_without_a_server_the_feeds_in_files_are_listed() -> None:
    listed = json.loads(feed("list", "--json").stdout)

    assert ["loggers", "sensor-readings", "weather-stations"] == [each["name"] for each in listed]
    assert [{"name": "device", "type": "S"}, {"name": "time", "type": "N"}] == listed[0]["key"]
    assert "weather-stations" in feed("list").stdout


def test_what_show_prints_is_the_descriptor() -> None:
    assert SENSOR_READINGS.as_document() == json.loads(feed("show", "sensor-readings").stdout)


def test_a_feed_that_there_is_not_is_an_error_with_those_there_are() -> None:
    assert "loggers, sensor-readings, weather-stations" in str(feed("show", "weather").exception)


def test_a_descriptor_is_laid_out_in_lines_that_fit_a_screen() -> None:
    for each in feeds_in_files():
        text = descriptor_text(each.as_document())
        assert each.as_document() == json.loads(text)
        assert max(map(len, text.splitlines())) <= 120 < len(text)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("{", "line 1, column 2"),
        ("[]", ""),
        ('{"name": "a", "name": "b"}', ""),
        ('{"name": "a", "schema": {"fields": [], "primaryKey": []}}', "schema.fields"),
    ],
)
def test_each_fault_has_its_place(text: str, place: str) -> None:
    Path("x.json").write_text(text, encoding="utf-8")
    result = feed("check", "x.json", "--json")

    assert (1, False) == (result.exit_code, json.loads(result.stdout)["valid"])
    assert place in [fault["place"] for fault in json.loads(result.stdout)["faults"]]


def test_a_feed_is_judged_beside_the_others() -> None:
    other = SENSOR_READINGS.as_document() | {"name": "other"}
    Path("x.json").write_text(json.dumps(other), encoding="utf-8")
    result = feed("check", "x.json")

    assert 1 == result.exit_code
    assert "sensor-readings and other have the same prefix" in result.stdout or (
        "other and sensor-readings have the same prefix" in result.stdout
    )


# ---- infer ----------------------------------------------------------------------------------------------------------

STATIONS = "station;time;temperature;quality\n" + "".join(
    f"st-{n % 2};2024-11-01T{n // 2:02d}:00:00.250Z;{n},5;good\n" for n in range(40)
)


def test_semicolons_and_decimal_commas_are_found() -> None:
    descriptor, _ = inferred(STATIONS)

    assert {"delimiter": ";"} == descriptor["dialect"]
    found = fields(descriptor)
    assert ("datetime", "number", ",") == (
        found["time"]["type"],
        found["temperature"]["type"],
        found["temperature"]["decimalChar"],
    )
    assert ["station", "time"] == descriptor["schema"]["primaryKey"]


def test_the_sample_is_accepted_with_the_feed_that_was_guessed_from_it() -> None:
    _, notes = inferred(gzip.compress(STATIONS.encode()), "weather.csv.gz")
    checked = CliRunner().invoke(app, ["check", "weather.csv.gz", "--feed", "feed.json", "--json"])

    assert (0, 40) == (checked.exit_code, json.loads(checked.stdout)["accepted"])
    assert "40 of 40 rows are accepted" in notes


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["1", "2", "-3"], {"type": "integer"}),
        (["1", "2.5", "-.3"], {"type": "number"}),
        (["007", "008", "009"], {"type": "string"}),
        (["true", "false", "true"], {"type": "boolean"}),
        (["0", "1", "0"], {"type": "integer"}),
        (["2024-11-01", "2024-11-02", "2024-12-01"], {"type": "date"}),
        (["2024-11-01T00:00:00Z", "2024-11-01T00:00:00.5+01:00", "2024-11-01T00:00:01"], {"type": "datetime"}),
        (["1730419200", "1730419260", "1730419320"], {"type": "datetime", "format": "epoch"}),
        (["1730419200000", "1730419260000", "1730419320000"], {"type": "datetime", "format": "epoch-milliseconds"}),
        (
            ["31.12.2024 23:59", "01.01.2025 00:00", "01.01.2025 00:01"],
            {"type": "datetime", "format": "%d.%m.%Y %H:%M"},
        ),
        (["31/12/2024", "01/01/2025", "02/01/2025"], {"type": "date", "format": "%d/%m/%Y"}),
        (["12/31/2024", "01/01/2025", "01/02/2025"], {"type": "date", "format": "%m/%d/%Y"}),
    ],
)
def test_types_and_formats_are_those_that_all_values_have(texts: list[str], expected: dict[str, str]) -> None:
    rows = "".join(f"s-{n},{text}\n" for n, text in enumerate(texts))
    descriptor, _ = inferred("sensor,x\n" + rows)

    found = fields(descriptor)["x"]
    assert expected == {name: found[name] for name in ("type", "format") if name in found}


def test_an_order_of_day_and_month_that_is_not_sure_is_said() -> None:
    descriptor, notes = inferred("id,day\n" + "".join(f"a{n},0{n}/02/2024\n" for n in range(1, 9)))

    assert "%d/%m/%Y" == fields(descriptor)["day"]["format"]
    assert "it may be %m/%d/%Y" in notes
    assert "it may be %m/%d/%Y" in fields(descriptor)["day"]["description"]


def test_numbers_that_stand_for_no_value_are_found_where_they_stand_out() -> None:
    # As in the UCI air quality data: -200 is a missing value.
    rows = "".join(f"2024-11-01 {n:02d}:00:00,{-200 if n % 6 == 5 else 20 + n / 10},{-n}\n" for n in range(24))
    descriptor, notes = inferred("time,co,offset\n" + rows)

    assert ["", "-200"] == fields(descriptor)["co"]["missingValues"]
    assert "missingValues" not in fields(descriptor)["offset"]
    assert "-200 occurs 4 times" in notes


def test_words_that_stand_for_no_value_are_missing_values() -> None:
    descriptor, _ = inferred(
        "time,t\n" + "".join(f"2024-11-01T00:{n:02d}:00,{'NA' if n == 3 else n}\n" for n in range(20))
    )

    assert (["", "NA"], "integer") == (descriptor["schema"]["missingValues"], fields(descriptor)["t"]["type"])


def test_a_file_of_one_device_is_keyed_by_time_and_the_prefix_is_suggested() -> None:
    descriptor, notes = inferred("time,volts\n" + "".join(f"{1730419200 + n},{n % 3}\n" for n in range(20)))

    assert ["time"] == descriptor["schema"]["primaryKey"]
    assert "{device}" in notes


def test_candidates_for_the_key_are_shown_with_their_uniqueness() -> None:
    _, notes = inferred("sensor,time,t\n" + "".join(f"a,{1730419200 + n // 2},1.5\n" for n in range(20)))

    assert "sensor + time (50.0% unique)" in notes
    assert "50.0% of the rows would be replaced" in notes


def test_comments_and_a_missing_header_are_found() -> None:
    descriptor, notes = inferred("# made by x\n" + "".join(f"a{n},{1730419200 + n},1.5\n" for n in range(9)))

    assert {"header": False, "commentChar": "#"} == descriptor["dialect"]
    assert "name the fields" in notes


@pytest.mark.parametrize(
    "content", [b"", b"\n\n", b"\x89PNG\r\n\x1a\n", b"a,b\n", "a,é\n1,2\n".encode("latin-1"), b"a\0b\n"]
)
def test_what_is_no_csv_is_refused(content: bytes) -> None:
    Path("x.csv").write_bytes(content)

    assert "SampleUnreadableError" == type(feed("infer", "x.csv").exception).__name__


def test_a_prefix_under_which_no_file_is_announced_is_refused_by_check_and_deploy(tmp_path: Path) -> None:
    path = tmp_path / "elsewhere.json"
    path.write_text(json.dumps(SENSOR_READINGS.as_document() | {"name": "elsewhere", "prefix": "elsewhere/"}))
    judged = feed("check", path)
    assert 1 == judged.exit_code
    assert "prefix: 'elsewhere/' does not start with incoming/" in judged.stdout
    with pytest.raises(FeedInvalidError, match="does not start with incoming/"):
        feeds_in_files(tmp_path)


def test_two_values_may_be_a_boolean() -> None:
    rows = "".join(f"p{number},{'no' if number % 3 else 'yes'}\n" for number in range(30))
    _, notes = inferred(f"pump,ok\n{rows}")
    assert "or its type boolean with trueValues ['yes'] and falseValues ['no']" in notes
