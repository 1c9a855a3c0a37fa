"""Limits of sizes and times, and the grouping of files that follows from them. Pure, no I/O."""

import json
from collections.abc import Iterable, Iterator
from typing import Final

from pydantic import BaseModel

from blocks.domain.models import SensorFile

REJECT_LIMIT: Final = 0.10
"""Share of rows that may break a rule unless the feed says otherwise."""

LONGEST_WAIT_SECONDS: Final = 30 * 24 * 3600
"""The longest wait between loading and email; our own limit, against typing errors."""

PAUSE_TIMEOUT_SLACK_SECONDS: Final = 7 * 24 * 3600
"""How much later than the wait a pause times out, which fails the run: a server may be down for a week."""

PARAMETERS_BYTES: Final = 450_000
"""Room for reports in a flow run's parameters. Prefect 3.9 takes 524,288 bytes of them (`max_parameter_size`)."""

RUNS_AT_ONCE: Final = 2
"""Ingest runs at the same time, unless a person has set another limit of the work queue `files`.

One per core of the smallest supported machine: a run that loads small files keeps a core busy.
"""

FILES_PER_EVENT: Final = 500
"""The most files in one event, and so in one run."""

BYTES_PER_EVENT: Final = 200_000
"""The most bytes of the files in one event, which become a run's parameters; 500 files with keys of usual length fit.

The report of a file is longer than its announcement. The distance to `PARAMETERS_BYTES` leaves room for the reports of
all files of one event, however long their keys are.
"""

CONTENT_BYTES_PER_EVENT: Final = 500_000_000
"""The most content of the files in one event, as far as their sizes are known; a larger file has its own event.

A run with much content takes minutes, so large files are spread over several runs.
"""

RENEWALS_PER_LEASE: Final = 3
"""How often a lease, on a file or an email, is renewed while it lasts: two renewals may fail before it is lost."""

FENCE_MARGIN: Final = 1 / 12
"""Share of a lease before its end from which the run counts it as lost: a request takes time to arrive."""


def json_bytes(model: BaseModel) -> int:
    """The size of the model as Prefect measures flow run parameters: compact JSON, ASCII only, in bytes."""
    return len(json.dumps(model.model_dump(mode="json"), separators=(",", ":")))


def in_groups(files: Iterable[SensorFile]) -> Iterator[list[SensorFile]]:
    """The files in their order, in as few groups as possible; each group fits into one event."""
    group: list[SensorFile] = []
    size = content = 0
    for file in files:
        file_size, file_content = json_bytes(file), file.size or 0
        too_large = size + file_size > BYTES_PER_EVENT or content + file_content > CONTENT_BYTES_PER_EVENT
        if group and (len(group) == FILES_PER_EVENT or too_large):
            yield group
            group, size, content = [], 0, 0
        group.append(file)
        size += file_size
        content += file_content
    if group:
        yield group
