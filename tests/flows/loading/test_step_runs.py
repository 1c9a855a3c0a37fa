"""What is tried again is the same, whether a step is a task run of its own or a part of the file's."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from threading import Event
from typing import Any

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.runtime import flow_run

from blocks.domain.errors import ArchiveError
from blocks.domain.models import FileReport, SensorFile
from flows import ingest
from flows.ingest import FILES_AT_ONCE, ingest_sensor_files
from flows.loading import claim_step, ingest_file, tasks
from flows.loading.large_files import LargeFiles
from flows.loading.step_runs import as_task_run, within_task_run
from tests.support.waiting import eventually
from tests.support.world import World

GOOD = "2222-2222,1483906366,1.5\n"


@pytest.mark.parametrize("kind", [as_task_run, within_task_run])
@pytest.mark.parametrize(("error", "tries"), [(OSError("reset"), 4), (ArchiveError("s3://b/k has changed"), 1)])
def test_a_step_is_tried_again_after_what_may_pass_and_only_then(
    world: World,  # noqa: ARG001 - its server
    monkeypatch: pytest.MonkeyPatch,
    kind: Callable[[Any], Callable[..., Any]],
    error: Exception,
    tries: int,
) -> None:
    asked: list[object] = []

    def breaks(file: SensorFile, validated: object, entry: object) -> None:  # noqa: ARG001 - names of the step's own
        asked.append(file)
        raise error

    step = tasks.archive_file.with_options(retry_delay_seconds=[0, 0, 0])
    monkeypatch.setattr(step, "fn", breaks)

    @flow
    def work() -> None:
        kind(step)(SensorFile(bucket="landing", key="incoming/a.csv"), None, None)

    with pytest.raises(type(error)):
        work()
    assert tries == len(asked)


def test_a_step_whose_pauses_are_not_listed_is_refused_rather_than_tried_less_often() -> None:
    with pytest.raises(TypeError, match="retry_delay_seconds"):
        within_task_run(tasks.archive_file.with_options(retries=3, retry_delay_seconds=2))


@pytest.mark.parametrize(("most", "of_files", "shared"), [(2, 2 * 5, 0), (1, 0, FILES_AT_ONCE)])
def test_many_files_of_a_run_share_task_runs(
    world: World, monkeypatch: pytest.MonkeyPatch, most: int, of_files: int, shared: int
) -> None:
    monkeypatch.setattr(ingest, "FILES_WITH_STEPS", most)
    runs = []
    monkeypatch.setattr(ingest, "notify_later", lambda *_: runs.append(flow_run.id))
    names = [f"{number}-of-{most}.csv" for number in range(2)]
    state = ingest_sensor_files(
        [SensorFile.model_validate(world.put(GOOD, f"incoming/{name}")) for name in names], return_state=True
    )
    assert state.name == "Completed"
    # The server learns of task runs from events: of the report, which ends last, when it knows of all before.
    made = eventually(lambda: _names_if_reported(runs[0]), 60, "the task run of the report")
    assert of_files == len([name for name in made if "-of-" in name])
    assert shared == len({name for name in made if name.startswith("files, thread ")})


def test_a_file_of_many_that_fails_fails_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "FILES_WITH_STEPS", 0)
    monkeypatch.setattr(ingest, "FILES_AT_ONCE", 1)
    monkeypatch.setattr(claim_step, "LOOK_AGAIN_SECONDS", (0,))
    missing = f"s3://{world.outputs.bucket_name}/incoming/never-landed.csv"
    uris = [missing, world.put(GOOD, "incoming/after-a-failure.csv")]
    state = ingest_sensor_files(list(map(SensorFile.model_validate, uris)), 0, return_state=True)
    assert state.name == "PartlyFailed"
    found = {report.name: report.status for report in state.result().files}  # type: ignore[attr-defined] # the stub says State
    assert {"never-landed.csv": "missing", "after-a-failure.csv": "archived"} == found


def test_a_slow_file_keeps_none_of_the_others_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting, others_are_done = SimpleQueue[SensorFile](), Event()

    def loaded(file: SensorFile, *_: object, **__: object) -> list[FileReport]:
        if file.name == "0.csv":
            assert others_are_done.wait(30)
        elif file.name == "9.csv":
            others_are_done.set()
        return [FileReport(bucket=file.bucket, key=file.key, status="archived")]

    monkeypatch.setattr(ingest_file, "ingest_or_report", loaded)
    for number in range(10):
        waiting.put(SensorFile(bucket="landing", key=f"incoming/{number}.csv"))
    with ThreadPoolExecutor(2) as threads:
        shares = threads.map(lambda n: ingest_file.ingest_files.fn(n, waiting, LargeFiles(), None, force=False), (1, 2))
        assert sorted(f"{number}.csv" for number in range(10)) == sorted(
            each.name for share in shares for each in share
        )


def _names_if_reported(flow_run_id: Any) -> list[str]:  # noqa: ANN401 - Prefect's runtime says no type
    of_run = FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
    with get_client(sync_client=True) as client:
        made = client.read_task_runs(flow_run_filter=of_run)
    reported = any(each.name == "report" and each.state and each.state.is_completed() for each in made)
    return [each.name for each in made] if reported else []
