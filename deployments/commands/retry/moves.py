"""What the command `retry` does with each file: put it back into `incoming/`, start a run for it, or leave it."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from httpx import HTTPError
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound, PrefectException
from rich.console import Console
from rich.progress import MofNCompleteColumn

from blocks.aws_block import AWS_ERRORS
from blocks.domain.errors import DeploymentMissingError, SensorIngestError
from blocks.domain.limits import in_groups
from blocks.domain.models import SensorFile, StoredFile
from blocks.domain.names import INGEST_FLOW, deployment_name
from blocks.domain.s3_keys import PUT_BACK, moved_key, parse_s3_uri, versioned_key
from blocks.domain.text import printable
from blocks.saved_blocks import load_blocks
from deployments.commands.retry.original_keys import original_key
from flows.recovery.retry_policy import permanent_problem
from flows.report.progress_bar import progress_bars


class NotRetriedError(SensorIngestError):
    """A file that was named cannot be loaded again by this command."""


@dataclass
class RetryResult:
    """What became of each file."""

    moved: list[tuple[str, str]] = field(default_factory=list)
    """Addresses: where each was, and where it is now."""
    started: list[tuple[str, str]] = field(default_factory=list)
    """Addresses of files that are in `incoming/`, and the name of the run that loads each."""
    left: list[tuple[str, str]] = field(default_factory=list)
    """Addresses of files that stay where they are, and why."""

    def as_document(self) -> dict[str, Any]:
        """What `retry --json` prints."""
        return {
            "moved": [{"from": source, "to": target} for source, target in self.moved],
            "started": [{"file": file, "flow_run_name": run} for file, run in self.started],
            "left": [{"file": file, "problem": problem} for file, problem in self.left],
        }

    def __str__(self) -> str:
        """One line for each file."""
        lines = [f"moved to {printable(target)}, from {printable(source)}" for source, target in self.moved]
        lines += [f"run {printable(run)} loads {printable(file)}" for file, run in self.started]
        lines += [f"left: {printable(file)}: {printable(problem)}" for file, problem in self.left]
        return "\n".join(lines) or "no file to load again"


class Retry:
    """One call of the command, on the landing zone and the ledger that the Prefect server names."""

    def __init__(self) -> None:
        blocks = load_blocks()
        self._zone, self._ledger = blocks.landing_zone, blocks.file_ledger
        self._done = RetryResult()
        self._failed_in_incoming: list[StoredFile] = []

    def named(self, addresses: Sequence[str]) -> list[SensorFile]:
        """The files at these addresses, each once.

        Raises:
            ValueError: a text is no address.
        """
        unique = dict.fromkeys(addresses)
        return [SensorFile(bucket=bucket, key=key) for bucket, key in map(parse_s3_uri, unique)]

    def listed(self, *, failed: bool, refused: bool, since: datetime | None) -> list[SensorFile]:
        """The files under `failed/`, `refused/`, or both if neither is asked for; without the rejects beside them."""
        prefixes = {self._zone.failed_prefix: failed, self._zone.refused_prefix: refused}
        return [
            found
            for prefix, asked in prefixes.items()
            if asked or not (failed or refused)
            for found in self._zone.under(prefix)
            if (since is None or found.landed_at >= since) and self._original_key(found, prefix)
        ]

    def put_back(self, files: Sequence[SensorFile]) -> RetryResult:
        """What became of each of these files. An error about one of them does not end the work on the others."""
        with _progress(files) as shown:
            for file in shown:
                try:
                    self._put_back(file)
                except AWS_ERRORS as error:
                    self._leave(file, error)
        for group in in_groups(self._failed_in_incoming):
            try:
                run = _start_run(group)
            except (SensorIngestError, HTTPError, PrefectException) as error:
                for file in group:
                    self._leave(file, error)
            else:
                self._done.started += [(file.uri, run) for file in group]
        return self._done

    def _leave(self, file: SensorFile, error: Exception) -> None:
        self._done.left.append((file.uri, permanent_problem(error) or str(error)))

    def _put_back(self, file: SensorFile) -> None:
        zone = self._zone
        if file.bucket != zone.bucket:
            raise NotRetriedError(f"it is not in the bucket that files land in, {zone.bucket}")
        if file.key.startswith(zone.incoming_prefix):
            self._load_or_find(file)
            return
        prefix = next((each for each in (zone.failed_prefix, zone.refused_prefix) if file.key.startswith(each)), None)
        if prefix is None:
            raise NotRetriedError(
                f"it is neither under {zone.failed_prefix} nor under {zone.refused_prefix}. A loaded file is loaded "
                f"again with `sensor-ingest run --force` and the address that it landed under"
            )
        found = zone.describe(file)
        if found is None and isinstance(file, StoredFile):
            return  # listed a moment ago: put back since, under another of its names or by another command
        if found is None:
            raise NotRetriedError("it does not exist")
        key = self._original_key(found, prefix)
        if key is None:
            raise NotRetriedError("it has the rejected rows of a file, and is no file to load")
        self._done.moved.append((file.uri, zone.put_back(found, key).uri))

    def _load_or_find(self, file: SensorFile) -> None:
        """Start a run for the file if it has failed in `incoming/`; else look for it where it was moved to."""
        found = self._zone.describe(file)
        if found is None:
            moved = next(filter(None, map(self._zone.describe, self._places(file))), None)
            if moved is None:
                raise NotRetriedError("there is no such file in incoming/, and none under failed/ or refused/ that was")
            self._done.moved.append((moved.uri, self._zone.put_back(moved, file.key).uri))
            return
        entries = self._ledger.entries_of(file.bucket, file.key)
        if not any(entry.stays_in_incoming and entry.version in (found.version, found.etag) for entry in entries):
            raise NotRetriedError(
                "it waits in incoming/ to be loaded; `sensor-ingest run` with its address loads it now"
            )
        self._zone.check_key(found)
        with self._zone.opened(found) as body:
            body.read(1)  # a run would find out as well, and email about it
        self._failed_in_incoming.append(found)

    def _places(self, file: SensorFile) -> Iterator[SensorFile]:
        """Where a file that landed under this key may be, the latest first."""
        zone = self._zone
        entries = sorted(self._ledger.entries_of(file.bucket, file.key), key=lambda each: each.claimed_at, reverse=True)
        for entry in entries:
            if entry.status in ("failed", "refused") and entry.archived_to:
                yield SensorFile.model_validate(entry.archived_to)
        for prefix in (zone.failed_prefix, zone.refused_prefix):
            key = moved_key(file.key, from_prefix=zone.incoming_prefix, to_prefix=prefix)
            for each in (versioned_key(key, PUT_BACK), key):
                yield SensorFile(bucket=file.bucket, key=each)

    def _original_key(self, found: StoredFile, prefix: str) -> str | None:
        return original_key(found.bucket, found.key, prefix, self._zone.incoming_prefix, self._ledger.entries_of)


def _start_run(files: Sequence[SensorFile]) -> str:
    """The name of a run of the deployment that loads these files although their versions are settled.

    The event that announces files cannot say so: it is S3's, and a version that is settled is not loaded again.

    Raises:
        DeploymentMissingError: the Prefect server has no such deployment.
    """
    name = deployment_name(INGEST_FLOW)
    with get_client(sync_client=True) as client:
        try:
            deployment = client.read_deployment_by_name(name)
        except ObjectNotFound as error:
            raise DeploymentMissingError(name) from error
        objects = [file.model_dump(mode="json", exclude={"landed_at"}) for file in files]
        parameters = {"objects": objects, "force": True}
        return client.create_flow_run_from_deployment(deployment.id, parameters=parameters).name


@contextmanager
def _progress(files: Sequence[SensorFile]) -> Iterator[Iterable[SensorFile]]:
    """The same files, with a bar on a terminal."""
    if not sys.stderr.isatty():
        yield files
        return
    with progress_bars(Console(stderr=True), MofNCompleteColumn()) as bar:
        yield bar.track(files, description="putting files back")
