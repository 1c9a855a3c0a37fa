"""The kinds of file that `write.py` loads, and what the ways to load them must know; without other packages."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

FEEDS: Final = Path(__file__).parents[1] / "deployments" / "feeds"
SENSORS: Final = 250
FIRST: Final = datetime(2017, 1, 8, 20, 12, 46, 123_000, tzinfo=UTC)


@dataclass(frozen=True)
class Kind:
    """A kind of file; sensors take turns in it, each with a row every ten minutes."""

    lines: Callable[[int], Iterator[str]]
    """The lines of a file of so many rows."""
    feed: Path
    """The descriptor."""
    key: tuple[str, ...]
    """The key of the table."""
    read_csv: dict[str, Any]
    """How pandas reads it, numbers exactly: boto3 takes no floats."""


def write_file(kind: Kind, path: Path, rows: int) -> Path:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(kind.lines(rows))
    return path


def _readings(rows: int) -> Iterator[str]:
    first = int(FIRST.timestamp())
    for row in range(rows):
        sensor = row % SENSORS
        yield f"{sensor // 100:04d}-{sensor:04d},{first + row // SENSORS * 600},{row % 9973 / 100:.2f}\n"


def _weather(rows: int) -> Iterator[str]:
    yield "station;time;temperature;humidity;pressure;wind;quality\n"
    time = ""
    for row in range(rows):
        if row % SENSORS == 0:
            at = FIRST + timedelta(minutes=10 * row // SENSORS)
            time = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        temperature, humidity, pressure, wind = row % 997, row % 1000, 9500 + row % 701, row % 311
        yield (
            f"station-{row % SENSORS:04d};{time};{temperature // 10 - 40},{temperature % 10};"
            f"{humidity // 10},{humidity % 10};{pressure // 10},{pressure % 10};{wind // 10},{wind % 10};"
            f"{('good', 'good', 'suspect')[row % 3]}\n"
        )


def _with_comma(text: str) -> Decimal:
    return Decimal(text.replace(",", "."))


KINDS: Final = {
    "readings": Kind(
        lines=_readings,
        feed=FEEDS / "sensor-readings.json",
        key=("sensor_id", "timestamp"),
        read_csv={"names": ["sensor_id", "timestamp", "value"], "converters": {"value": Decimal}},
    ),
    "weather": Kind(
        lines=_weather,
        feed=FEEDS / "weather-stations.json",
        key=("station", "time"),
        read_csv={
            "sep": ";",
            "converters": dict.fromkeys(("temperature", "humidity", "pressure", "wind"), _with_comma),
        },
    ),
}
"""`readings` is the sensor file: three columns. `weather` is wide: text and a datetime as key, four numbers, a flag."""
