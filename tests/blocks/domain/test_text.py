import logging
import pickle
import re
from collections.abc import Iterator

import pytest

import deployments.embedded.errors
import deployments.server.prefect_yaml  # noqa: F401 - errors of their own
from blocks.domain.errors import (
    ArchiveError,
    LeaseLostError,
    ObjectMissingError,
    SensorIngestError,
    StackFailedError,
)
from blocks.domain.models import Reject, SensorFile, SweepReport
from blocks.domain.text import OneLineLog, printable
from blocks.dynamodb.errors import RowRefusedError, TableUnreachableError
from tests.support.pages import PROJECT


def test_text_that_can_be_printed_stays_as_it_is() -> None:
    assert printable("0000-0001, 23.5 °C 温度") == "0000-0001, 23.5 °C 温度"


def test_control_characters_and_line_breaks_are_spelled_out() -> None:
    assert printable("a\tb\r\n\x1b[31m\x00") == r"a\tb\r\n\x1b[31m\x00"


def test_a_refused_row_with_a_nul_can_be_a_parameter_of_a_run_although_postgresql_stores_none() -> None:
    assert "\\u0000" not in Reject(line=1, reason="encoding", text="0000\x000001").model_dump_json()


@pytest.mark.parametrize("control", [*"\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u061c"])
def test_controls_of_the_direction_of_text_are_spelled_out(control: str) -> None:
    assert f"a\\u{ord(control):04x}vsc.exe" == printable(f"a{control}vsc.exe")


@pytest.mark.parametrize("code", [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, 0xFEFF, 0xD800])
def test_no_control_of_a_terminal_and_no_line_break_is_shown_as_it_is(code: int) -> None:
    assert printable(chr(code)).isascii()
    assert printable(chr(code)).startswith("\\")


FORGED = "incoming/a.csv\n12:00:00 | INFO | all is well\x1b[2J\x9b2J\u202e"


def test_a_log_message_is_one_line_whatever_a_key_or_an_error_in_it_has(caplog: pytest.LogCaptureFixture) -> None:
    log = OneLineLog(logging.getLogger("text"))
    with caplog.at_level(logging.INFO):
        log.info("%s: %d rows; %s", FORGED, 7, ValueError(FORGED))
        log.warning(f"100 % {FORGED}")  # noqa: G004 - no arguments: the percent sign stays
    first, second = (record.getMessage() for record in caplog.records)
    assert r"incoming/a.csv\n12:00:00 | INFO | all is well\x1b[2J\x9b2J\u202e: 7 rows; incoming/a.csv\n" in first
    assert second.startswith(r"100 % incoming/a.csv\n12")
    assert [True, True] == [record.getMessage().isprintable() for record in caplog.records]
    assert {"test_text.py"} == {record.filename for record in caplog.records}


@pytest.mark.parametrize(("text", "args"), [("%s and %s", ("a\n",)), ("%d", ("a\n",)), ("100 % of %s", ("a\n",))])
def test_a_message_that_its_arguments_do_not_fit_raises_nothing(
    caplog: pytest.LogCaptureFixture, text: str, args: tuple[object, ...]
) -> None:
    with caplog.at_level(logging.INFO):
        OneLineLog(logging.getLogger("text")).info(text, *args)
    [record] = caplog.records
    assert record.getMessage().isprintable()
    assert text in record.getMessage()
    assert "a\\n" in record.getMessage()


def test_every_logger_of_the_project_writes_one_line_for_each_message() -> None:
    sources = [path for folder in ("blocks", "flows", "deployments") for path in (PROJECT / folder).rglob("*.py")]
    found = [
        (path.name, logger)
        for path in sources
        for logger in re.findall(r"\S*(?:getLogger\(\S*\)|get_run_logger\(\))", path.read_text(encoding="utf-8"))
    ]
    assert 6 <= len(found)
    # The one that is left looks for the console of a handler, and writes nothing.
    assert [("progress.py", "logging.getLogger()")] == [each for each in found if "OneLineLog(" not in each[1]]


def test_the_text_of_an_error_is_one_line() -> None:
    errors = [
        ObjectMissingError(FORGED, 1),
        ArchiveError(f"the copy of {FORGED} is not whole"),
        RowRefusedError("readings", FORGED, FORGED),
        TableUnreachableError("readings", FORGED, 1),
        pickle.loads(pickle.dumps(LeaseLostError(FORGED, "its lease has expired"))),  # noqa: S301 - our own
    ]
    assert [] == [error for error in errors if not str(error).isprintable()]


def test_only_errors_without_text_from_files_have_several_lines() -> None:
    several = {each.__name__ for each in _subclasses(SensorIngestError) if each.lines}
    assert {"DeployError", "FeedInvalidError", "PartFailedError", "StackFailedError"} == several
    assert ["The CloudFormation stack 'a' is X:", r"  b\x1b"] == str(StackFailedError("a", "X", ["b\x1b"])).split("\n")


def _subclasses(error: type[SensorIngestError]) -> Iterator[type[SensorIngestError]]:
    for each in error.__subclasses__():
        yield each
        yield from _subclasses(each)


def test_the_name_of_a_file_is_printable_and_its_address_finds_the_object() -> None:
    file = SensorFile(bucket="landing", key=FORGED)
    assert r"a.csv\n12:00:00 | INFO | all is well\x1b[2J\x9b2J\u202e" == file.name
    assert f"s3://landing/{FORGED}" == file.uri
    assert SweepReport(announced=[file, file]).__str__().count("\n") == 1
