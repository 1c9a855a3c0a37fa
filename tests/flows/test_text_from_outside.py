"""What is in keys and rows reaches logs, names and the Prefect server only in the form that it may have there."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterParentFlowRunId,
)

from blocks.readings_table import ReadingsTable
from blocks.runtime import Runtime
from blocks.saved_blocks import BLOCK_NAME, load_blocks
from tests.flows.ingest_runs import ingest
from tests.support.waiting import eventually
from tests.support.world import World

FORGED = "incoming/forged\n12:00:00.000 | INFO | all is well\x1b[2J\u202e.csv"
SHOWN = r"forged\n12:00:00.000 | INFO | all is well\x1b[2J\u202e.csv"


def test_a_line_break_in_a_key_forges_no_line_in_a_log_and_no_name(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "prefect"):
        state, report = ingest(world.put("0030-0001,1483906366,1\n", FORGED))
    assert "Completed" == state.name
    assert f"s3://{world.outputs.bucket_name}/{FORGED}" == report.files[0].uri
    lines = [record.getMessage() for record in caplog.records]
    assert any(line.startswith(f"{SHOWN}: 1 rows") for line in lines)
    assert [] == [line for line in lines if not line.isprintable()]
    with get_client(sync_client=True) as client:
        this_run = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))  # type: ignore[list-item] # a finished run has one

        def names_of_tasks() -> list[str] | None:
            names = [run.name for run in client.read_task_runs(flow_run_filter=this_run)]
            return names if f"archive {SHOWN}" in names else None

        names = eventually(names_of_tasks, 30, "the server to have recorded the task that archives the file")
        names += [run.name for run in client.read_flow_runs(flow_run_filter=this_run)]
    assert [] == [name for name in names if not name.isprintable()]


@contextmanager
def rows_shown(shown: bool) -> Iterator[None]:  # noqa: FBT001 - the value of the setting
    table = load_blocks().readings_table
    table.model_copy(update={"show_rows": shown}).save(BLOCK_NAME, overwrite=True)
    try:
        yield
    finally:
        table.save(BLOCK_NAME, overwrite=True)


@pytest.mark.parametrize("shown", [True, False])
def test_text_of_rows_reaches_the_prefect_server_and_emails_only_if_the_setting_says_so(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    shown: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    events: list[Mapping[str, Any]] = []
    monkeypatch.setattr(Runtime, "emit", lambda _self, _event, _resource, payload: events.append(payload))
    good = "".join(f"0031-0001,{1483906366 + number},1\n" for number in range(19))
    name = f"rows-{shown}.csv"
    with rows_shown(shown):
        state, report = ingest(world.put(f"{good}patient Jane Doe,1,x\n", f"incoming/{name}"))
    [file] = report.files
    assert ("PartlyRejected", 1) == (state.name, file.rejected)
    assert "Jane Doe" in world.text_at(file.rejects_at)
    run_id = state.state_details.flow_run_id
    assert run_id is not None
    with get_client(sync_client=True) as client:
        artifacts = client.read_artifacts(
            artifact_filter=ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]))
        )
        emails = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(parent_flow_run_id=FlowRunFilterParentFlowRunId(any_=[run_id]))
        )
    [mail] = world.mails_about(name)
    sent = {
        "event": str(events),
        "parameters": str([email.parameters for email in emails]),
        "page": str([artifact.data for artifact in artifacts]),
        "email": mail.text,
        "ledger": str(load_blocks().file_ledger.entries_of(file.bucket, file.key)),
    }
    assert {} == {place: text for place, text in sent.items() if name not in text}
    assert dict.fromkeys(sent, shown) == {place: "Jane Doe" in text for place, text in sent.items()}


def test_the_setting_is_on_unless_it_is_changed() -> None:
    assert ReadingsTable.model_fields["show_rows"].default is True
