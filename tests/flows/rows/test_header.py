"""What a refused file says of its header."""

import io
from pathlib import Path

import pytest

from blocks.domain.feed.documents import feed_of_json
from flows.rows import ValidationSettings, validate_file
from tests.support.pages import PROJECT

WEATHER = PROJECT / "deployments" / "feeds" / "weather-stations.json"
"""Its delimiter is a semicolon."""


@pytest.mark.parametrize(
    ("header", "hint"),
    [
        ("station,time,temperature,humidity,pressure,wind,quality", " (separated by ',' it names 7; dialect.delimiter"),
        ('"Station"\t"Time"\t"rain"', " (separated by '\\t' it names 2; dialect.delimiter is ';')"),
        ("device;at;value", ""),
        ("station", None),
        ("a station, at a time", ""),
    ],
)
def test_a_header_that_another_delimiter_separates_says_so(tmp_path: Path, header: str, hint: str | None) -> None:
    settings = ValidationSettings(feed_of_json(WEATHER.read_bytes(), str(WEATHER)))
    refusal = validate_file(io.BytesIO(f"{header}\n".encode()), tmp_path, settings).refusal or ""
    if hint is None:
        assert "does not name" in refusal
    else:
        assert f"names none of the fields{hint}" in refusal
        assert bool(hint) is ("separated by" in refusal)
