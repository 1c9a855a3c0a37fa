"""What goes to Prefect at once is never more than it takes."""

from datetime import UTC, datetime

from prefect.settings import get_current_settings
from pydantic import BaseModel

from blocks.domain.limits import (
    BYTES_PER_EVENT,
    CONTENT_BYTES_PER_EVENT,
    FILES_PER_EVENT,
    PARAMETERS_BYTES,
    in_groups,
    json_bytes,
)
from blocks.domain.models import FileReport, LedgerEntry, Reject, SensorFile
from flows.notification.run_parameters import fit_into_parameters

LONGEST = "incoming/" + "é" * 500  # 1,009 bytes in S3, 3,009 in ASCII JSON


def files(count: int, key: str) -> list[SensorFile]:
    one = SensorFile(bucket="b" * 63, key=key, version_id="v" * 32, etag="e" * 32, size=10**5, sequencer="0" * 18)
    return [one.model_copy(update={"key": f"{key}-{number}.csv"}) for number in range(count)]


def report(file: SensorFile) -> FileReport:
    """As long as a report of one file gets."""
    rejects = [Reject(line=10**9, reason="timestamp_range", text="x" * 1000)] * 10
    return FileReport(
        lines=10**9,
        rows=10**9,
        rejected=10**9,
        bucket=file.bucket,
        key=file.key,
        version=file.version,
        status="refused",
        reasons={"field_count": 10**9, "timestamp_range": 10**9},
        first_rejects=rejects,
        archived_to=f"{file.uri}.moved",
        rejects_at=f"{file.uri}.rejects.csv",
        problem="because " * 500,
        flow_run_id="f" * 36,
    )


def size(models: list[FileReport]) -> int:
    return sum(map(json_bytes, models))


def test_sizes_are_measured_as_prefect_does_in_ascii_json() -> None:
    class Name(BaseModel):
        name: str

    assert len('{"name":"\\u00e9"}') == json_bytes(Name(name="é"))


def test_prefect_takes_more_than_is_ever_sent() -> None:
    assert get_current_settings().server.api.max_parameter_size > PARAMETERS_BYTES > BYTES_PER_EVENT


def test_files_of_usual_names_go_in_groups_of_the_greatest_size() -> None:
    groups = [len(group) for group in in_groups(files(FILES_PER_EVENT + 1, "incoming/2026/11/sensors"))]
    assert [FILES_PER_EVENT, 1] == groups


def test_every_file_is_in_one_group_and_in_its_order() -> None:
    many = files(300, LONGEST)
    assert many == [file for group in in_groups(many) for file in group]


def test_files_with_long_names_go_in_groups_that_have_room() -> None:
    groups = list(in_groups(files(300, LONGEST)))
    assert len(groups) > 1
    assert max(sum(map(json_bytes, group)) for group in groups) <= BYTES_PER_EVENT


def test_much_content_is_spread_and_a_huge_file_goes_alone() -> None:
    sizes = [1, 2, 3 * CONTENT_BYTES_PER_EVENT, 1, CONTENT_BYTES_PER_EVENT - 1, 1]
    many = [file.model_copy(update={"size": size}) for file, size in zip(files(6, "incoming/a"), sizes, strict=True)]
    groups = [[file.size for file in group] for group in in_groups(many)]
    assert [[1, 2], [3 * CONTENT_BYTES_PER_EVENT], [1, CONTENT_BYTES_PER_EVENT - 1], [1]] == groups


def test_no_files_are_no_group() -> None:
    assert [] == list(in_groups([]))


def test_reports_that_are_small_enough_are_handed_on_as_they_are() -> None:
    small = [report(file) for file in files(3, "incoming/a")]
    assert small == fit_into_parameters(small)


def test_what_only_the_ledger_remembers_is_left_out() -> None:
    [file] = files(1, "incoming/a")
    entry = LedgerEntry(**dict(report(file)), claimed_at=datetime(2026, 11, 22, tzinfo=UTC))
    assert [report(file)] == fit_into_parameters([entry])


def test_rejects_that_the_email_does_not_show_are_the_first_to_go() -> None:
    shorter = fit_into_parameters([report(file) for file in files(50, "incoming/a")])
    assert {(3, 101)} == {(len(each.first_rejects), len(each.first_rejects[0].text)) for each in shorter}


def test_where_files_went_outlives_the_examples_of_rejects() -> None:
    shorter = fit_into_parameters(
        [report(file).model_copy(update={"problem": None}) for file in files(400, "incoming/a")]
    )
    assert {0} == {len(each.first_rejects) for each in shorter}
    assert all(each.archived_to and each.rejects_at for each in shorter)


def test_the_longest_reports_of_any_event_fit_into_parameters_and_all_files_are_in_them() -> None:
    for key in ("incoming/" + "k" * 140, LONGEST):
        group = next(in_groups(files(FILES_PER_EVENT, key)))
        shorter = fit_into_parameters([report(file) for file in group])
        assert [file.key for file in group] == [each.key for each in shorter]
        assert size(shorter) <= PARAMETERS_BYTES
