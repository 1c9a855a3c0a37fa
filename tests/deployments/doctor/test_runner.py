"""What the doctor makes of a check that raises."""

from deployments.doctor import machine, run_checks
from deployments.doctor.check_results import Check
from deployments.doctor.system import InspectedSystem


def test_a_check_that_raises_is_a_problem_and_the_next_check_is_made() -> None:
    system = InspectedSystem()
    answer = {"ResponseMetadata": {"HTTPHeaders": {"date": "Sun, 22 Nov 2026 12:00:00 -0000"}}}  # in no known zone
    system.aws_date = machine._date(answer)  # noqa: SLF001
    found = {each.name: each for each in run_checks(system, [Check("clock", machine.clock), *machine.CHECKS[:1]])}
    assert ("problem", "ok") == (found["clock"].level, found["dependencies"].level)
    assert "TypeError: can't subtract offset-naive and offset-aware datetimes" == found["clock"].seen
