"""A long load says how far it has come; a short one says nothing."""

import logging
from io import StringIO

import pytest
from prefect.logging.handlers import PrefectConsoleHandler

from flows.loading.progress import LoadProgress, terminal_bar


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Load:
    """A load of 100,000 rows, and what it has said and drawn."""

    def __init__(self) -> None:
        self.clock, self.said, self.drawn = Clock(), list[str](), list[float]()
        self._progress = LoadProgress(100_000, self.said.append, self.drawn.append, self.clock)

    def written(self, rows: int, *, at: float) -> None:
        self.clock.now = at
        self._progress(rows)


def test_a_short_load_says_nothing() -> None:
    load = Load()
    for second in range(10):
        load.written(1_000 * second, at=second)
    assert ([], []) == (load.said, load.drawn)


def test_a_long_load_says_rows_rate_and_rest_every_ten_seconds() -> None:
    load = Load()
    for second in range(1, 26):
        load.written(2_000 * second, at=second)
    assert [
        "20,000 of 100,000 rows written (20 %), 2,000 a second, about 40 s to go",
        "40,000 of 100,000 rows written (40 %), 2,000 a second, about 30 s to go",
    ] == load.said
    assert [20.0, 40.0] == load.drawn


def test_the_rate_is_that_of_the_last_seconds() -> None:
    load = Load()
    load.written(50_000, at=10)
    load.written(51_000, at=20)
    assert "51,000 of 100,000 rows written (51 %), 100 a second, about 490 s to go" == load.said[-1]


def test_a_table_that_takes_nothing_is_said_to() -> None:
    load = Load()
    load.written(0, at=10)
    assert "0 of 100,000 rows written (0 %), 0 a second, the table accepts nothing" == load.said[-1]


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stderr", [Terminal(), StringIO()])
def test_a_terminal_shows_bars_of_all_loads_and_nothing_else_does(
    stderr: StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"TERM": "xterm", "COLUMNS": "100"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stderr", stderr)  # here, for pytest sets its own between a fixture and the test
    monkeypatch.setattr(logging.getLogger(), "handlers", [PrefectConsoleHandler(stderr)])
    said: list[int] = []
    with (
        terminal_bar("[a].csv", 1_000, said.append) as one,
        terminal_bar("b.csv", 2_000, said.append) as two,
    ):
        one(250)
        two(500)
        logging.getLogger().warning("a line of the log")
    shown = stderr.getvalue()
    assert [250, 500] == said
    assert "a line of the log" in shown
    parts = ["[a].csv", "250/1000", "b.csv", "500/2000"]
    assert (parts if isinstance(stderr, Terminal) else []) == [part for part in parts if part in shown]
