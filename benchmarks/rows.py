"""What validating rows costs, beside other ways to do it, in one run on one machine.

    .venv/bin/python benchmarks/rows.py                # time, for 1,000,000 rows, 0 % and 5 % of them bad
    .venv/bin/python benchmarks/rows.py --memory       # peak memory from 1,000,000 to 40,000,000 rows; takes minutes

pandera is measured where it is installed: `.venv/bin/python -m pip install -r benchmarks/requirements-rows.txt`.

All ways take turns, so that a busy machine is busy for all of them, and the figure is the median of their rounds.
"ours" reads, splits and checks each line, writes accepted rows and rejects to disk and resolves duplicates. The others
stop at the checks; "our lines" are taken apart by this project's code, and "read_csv" loses those that have too few or
too many fields.
"""

import argparse
import csv
import io
import re
import statistics
import subprocess
import sys
import tempfile
import time
from decimal import Context, Inexact, InvalidOperation, Overflow
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from blocks.domain.feed.dialect import Dialect
from flows.rows import ValidationSettings, validate_file
from flows.rows.decimals import DECIMAL
from flows.rows.lines import line_array, line_blocks
from flows.rows.splitting import LineSplitter

try:
    import pandera.pandas as pandera
except ImportError:
    pandera = None  # type: ignore[assignment,unused-ignore] # a module, where it is installed

RULES = ValidationSettings()
COLUMNS = tuple(field.name for field in RULES.feed.table_schema.fields_)
SENSOR_ID = r"\d{4}-\d{4}"
EARLIEST, LATEST = 946_684_800, RULES.starts_at() + 86_400
NOON = 1483906366
ROWS_AT_ONCE = 1_000_000
BAD_LINES = [
    "{sensor},{second}", "{sensor},{second},1,2", "{sensor},{second}x,1.5", "{sensor},{second}000,1.5",
    "{sensor}0,{second},1.5", "{sensor},{second},abc", "{sensor},{second},1e400", "no reading at all",
]  # fmt: skip


def file_of(rows: int, bad_share: float, start: int = 0) -> bytes:
    """Rows of 10,000 sensors, a second apart; the bad ones break each rule in turn."""
    random = np.random.default_rng(start)
    sensors = random.integers(0, 10_000, rows)
    values = random.normal(20, 10, rows)
    bad = random.random(rows) < bad_share
    lines = []
    for number in range(rows):
        sensor, second = f"{sensors[number]:04d}-{sensors[number]:04d}", NOON + start + number
        if bad[number]:
            lines.append(BAD_LINES[number % len(BAD_LINES)].format(sensor=sensor, second=second))
        else:
            lines.append(f"{sensor},{second},{values[number]:.2f}")
    return ("\n".join(lines) + "\n").encode()


def ours(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as workspace:
        validate_file(io.BytesIO(content), Path(workspace), RULES)


def read_csv(content: bytes) -> pd.DataFrame:
    return pd.read_csv(
        io.BytesIO(content), header=None, names=list(COLUMNS), dtype=str, index_col=False, on_bad_lines="skip"
    )


def csv_loop(content: bytes) -> None:
    """The same checks, row by row. It lets a quote that never closes take the rest of the file, as `csv` does."""
    sensor_id, second, decimal = re.compile(r"\d{4}-\d{4}", re.ASCII), re.compile("[0-9]+"), re.compile(DECIMAL)
    numbers = Context(prec=38, Emin=-130, Emax=125, traps=[Inexact, InvalidOperation, Overflow])
    accepted, rejects = {}, []
    for line, row in enumerate(csv.reader(io.StringIO(content.decode())), start=1):
        if len(row) != len(COLUMNS):
            rejects.append((line, "field_count", row))
        elif not sensor_id.fullmatch(row[0]):
            rejects.append((line, "sensor_id", row))
        elif not second.fullmatch(row[1]):
            rejects.append((line, "timestamp", row))
        elif not EARLIEST <= int(row[1]) <= LATEST:
            rejects.append((line, "timestamp_range", row))
        elif not decimal.fullmatch(row[2]):
            rejects.append((line, "value", row))
        else:
            try:
                accepted[row[0], int(row[1])] = numbers.create_decimal(row[2])
            except (Inexact, InvalidOperation, Overflow):
                rejects.append((line, "value_range", row))


def pandera_lazy(content: bytes) -> None:
    without_failures(read_csv(content), declared_schema())


def pandera_lazy_in_blocks(content: bytes) -> None:
    schema, splitter = declared_schema(), LineSplitter(Dialect(), COLUMNS, COLUMNS, RULES.max_line_bytes)
    source = io.BytesIO(content)
    for block in line_blocks(iter(partial(source.read, RULES.block_bytes), b""), RULES.max_line_bytes):
        _, fields = splitter.split_vectorised(block, line_array(block))
        without_failures(fields.to_pandas(), schema)


def without_failures(rows: pd.DataFrame, schema: "pandera.DataFrameSchema") -> pd.DataFrame:
    try:
        valid: pd.DataFrame = schema.validate(rows, lazy=True)
    except pandera.errors.SchemaErrors as failures:
        valid = rows.drop(index=failures.failure_cases["index"].dropna().unique())
    return valid


def declared_schema() -> "pandera.DataFrameSchema":
    """The rules as pandera declares them; it has no words for the numbers that DynamoDB can store."""

    def in_range(texts: pd.Series) -> pd.Series:
        return pd.to_numeric(texts, errors="coerce").between(EARLIEST, LATEST)

    return pandera.DataFrameSchema(
        {
            "sensor_id": pandera.Column(str, pandera.Check.str_matches(rf"^(?:{SENSOR_ID})$")),
            "timestamp": pandera.Column(str, [pandera.Check.str_matches(r"^[0-9]+$"), pandera.Check(in_range)]),
            "value": pandera.Column(str, pandera.Check.str_matches(rf"^(?:{DECIMAL})$")),
        }
    )


def measure(rows: int, rounds: int) -> None:
    ways = {"read_csv(dtype=str) alone": read_csv, "ours": ours, "csv module, a loop": csv_loop}
    if pandera:
        ways |= {"read_csv, pandera lazy": pandera_lazy, "our lines, pandera lazy": pandera_lazy_in_blocks}
    else:
        print("pandera is not installed, so it is left out; see the top of this file")
    contents = {"0 % bad": file_of(rows, 0), "5 % bad": file_of(rows, 0.05)}
    seconds: dict[tuple[str, str], list[float]] = {(way, kind): [] for way in ways for kind in contents}
    for _ in range(rounds):
        for (way, kind), times in seconds.items():
            start = time.perf_counter()
            ways[way](contents[kind])
            times.append(time.perf_counter() - start)
    medians = {key: statistics.median(times) for key, times in seconds.items()}
    print(
        f"{rows:,} rows, {len(contents['0 % bad']):,} bytes, median of {rounds} rounds; times read_csv on the same file"
    )
    for way in ways:
        cells = (
            f"{medians[way, kind]:6.2f} s {medians[way, kind] / medians[next(iter(ways)), kind]:5.2f}x"
            for kind in contents
        )
        print(f"  {way:35}", *cells, sep="   ")
    print(f"  5 % bad rows cost us {medians['ours', '5 % bad'] / medians['ours', '0 % bad']:.2f} times as much as none")


def validate_once(path: Path) -> None:
    """Validate a file in this process, and print how its peak memory grew on the way."""
    imported = peak_mib()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory(dir=path.parent) as workspace, path.open("rb") as source:
        file = validate_file(source, Path(workspace), RULES)
        validated, seconds = peak_mib(), time.perf_counter() - start
        accepted = sum(map(len, file.items()))
        stored = sum(part.stat().st_size for part in Path(workspace).iterdir())
    print(
        f"{file.counts.rows:12,} {path.stat().st_size / 2**20:9,.0f} {seconds:9.1f} {imported:9.0f} {validated:11.0f} "
        f"{peak_mib():9.0f} {stored / 2**20:11,.0f}",
        flush=True,
    )
    assert accepted == file.counts.accepted


def peak_mib() -> float:
    """Largest resident size of this process so far, in MiB, as Linux counts it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def memory_curve(folder: Path, millions: list[int], bad_share: float) -> None:
    path = folder / "readings.csv"
    print(
        "        rows  file/MiB   seconds  imported   validated  all read   on disk/MiB   (peak resident size in MiB)"
    )
    with path.open("wb") as file:
        written = 0
        for million in sorted(millions):
            while written < million * ROWS_AT_ONCE:
                file.write(file_of(ROWS_AT_ONCE, bad_share, written))
                written += ROWS_AT_ONCE
            file.flush()
            subprocess.run([sys.executable, __file__, "--validate", path], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--millions", type=int, nargs="+", default=[1, 2, 5, 10, 20, 40])
    parser.add_argument("--bad-share", type=float, default=0.01)
    parser.add_argument("--validate", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.validate:
        validate_once(arguments.validate)
    elif arguments.memory:
        with tempfile.TemporaryDirectory() as folder:
            memory_curve(Path(folder), arguments.millions, arguments.bad_share)
    else:
        measure(arguments.rows, arguments.rounds)


if __name__ == "__main__":
    main()
