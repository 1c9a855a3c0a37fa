"""Results in one line: names of runs and states, headlines, the report of an error."""

import pytest

from blocks.domain.errors import ObjectMissingError
from blocks.domain.models import FileReport, SensorFile
from flows.report import final_state_name, headline, ingest_run_name, report_of_error
from tests.flows.report.reports import AGAIN, MISSING, REFUSED, report


@pytest.mark.parametrize(
    ("title", "names"),
    [("a.csv", ["a.csv"]), ("a.csv and 1 more", ["a.csv", "b.csv"]), ("a.csv and 2 more", ["a.csv", "b.csv", "c.csv"])],
)
def test_a_run_is_named_after_its_first_file_and_counts_the_others(title: str, names: list[str]) -> None:
    assert title == ingest_run_name(names)


@pytest.mark.parametrize(
    ("subject", "one"),
    [
        ("sensors.csv: 7 rows loaded", report()),
        ("sensors.csv: 1 row loaded", report(lines=1, rows=1, accepted=1, replaced=0)),
        (
            "sensors.csv: 9,000 rows loaded, 1,000 rejected",
            report(lines=10**4, rows=10**4, accepted=9000, replaced=0, rejected=1000),
        ),
        ("bad.csv: refused", REFUSED),
        ("gone.csv: missing", MISSING),
        ("sensors.csv: failed", report("failed")),
        ("old.csv: loaded before, nothing to do", AGAIN),
        ("bad.csv: refused before", REFUSED.model_copy(update={"already_done": True})),
    ],
)
def test_the_subject_about_one_file_names_it_and_its_result(subject: str, one: FileReport) -> None:
    assert subject == headline([one])


@pytest.mark.parametrize(
    ("subject", "several"),
    [
        ("2 files: 2 loaded", [report(), report()]),
        ("3 files: 2 loaded, 1 refused; 3 rows rejected", [REFUSED, report(), report()]),
        ("3 files: 1 loaded, 1 refused, 1 missing; 3 rows rejected", [report(), REFUSED, MISSING]),
        ("2 files: 2 loaded; 3 rows rejected", [report(), report(rows=11, lines=11, accepted=7, rejected=3)]),
        (
            "2 files: 1 loaded before, 1 refused before; 3 rows rejected",
            [AGAIN, REFUSED.model_copy(update={"already_done": True})],
        ),
    ],
)
def test_the_subject_about_several_files_counts_their_results(subject: str, several: list[FileReport]) -> None:
    assert subject == headline(several)


@pytest.mark.parametrize(
    ("state", "reports"),
    [
        ("Completed", [report(), AGAIN]),
        ("AlreadyLoaded", [AGAIN, AGAIN]),
        ("PartlyRejected", [report(), REFUSED]),
        ("PartlyRejected", [report(rows=8, accepted=6, replaced=1, rejected=1)]),
        ("AlreadyLoaded", [REFUSED.model_copy(update={"already_done": True})]),
        ("PartlyFailed", [report(), REFUSED, MISSING]),
        ("Failed", [MISSING, report("failed")]),
    ],
)
def test_a_run_ends_in_a_state_that_is_named_after_its_worst_file(state: str, reports: list[FileReport]) -> None:
    assert state == final_state_name(reports)


def test_what_is_no_news_does_not_decide_the_state_of_the_run() -> None:
    assert "Completed" == final_state_name([report(), report("failed", already_done=True)])


@pytest.mark.parametrize(
    ("status", "problem", "error"),
    [
        (
            "missing",
            "s3://landing/incoming/a.csv does not exist",
            ObjectMissingError("s3://landing/incoming/a.csv", 15),
        ),
        ("failed", "disk full", OSError("disk full")),
        ("failed", "KeyError", KeyError()),
    ],
)
def test_a_load_that_raised_an_error_is_reported_with_its_problem(status: str, problem: str, error: Exception) -> None:
    failed = report_of_error(SensorFile.model_validate("s3://landing/incoming/a.csv"), error)
    assert (status, "s3://landing/incoming/a.csv") == (failed.status, failed.uri)
    assert (failed.problem or "").startswith(problem)
