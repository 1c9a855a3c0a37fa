"""The protections, removed one by one from a copy of the project, and the tests that fail without them.

    python -m tests.faults.protections [--write-report docs/reliability.md] [NAME …]

Each protection is one line, which occurs exactly once in its file; `test_protections.py` checks that.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.waiting import run_for_at_most

PROJECT: Final = Path(__file__).parents[2]
BEGIN, END = "<!-- protections: written by tests/faults/protections.py -->", "<!-- end of protections -->"
SECONDS: Final = 300


@dataclass(frozen=True)
class Protection:
    """One protection, what replaces it, and quick tests of which at least one must fail then."""

    name: str
    file: str
    line: str
    instead: str
    tests: tuple[str, ...]


PROTECTIONS: Final = (
    Protection(
        "condition on copy: the version that was loaded",
        "blocks/s3_objects.py",
        'condition = {"CopySourceIfMatch": file.etag} if file.etag else {}',
        "condition = {}",
        ("tests/blocks/test_s3_objects.py", "tests/blocks/test_s3_objects_again.py"),
    ),
    Protection(
        "condition on copy: nothing at the target",
        "blocks/s3_objects.py",
        'IfNoneMatch="*",',
        "",
        ("tests/blocks/test_s3_objects_at_once.py",),
    ),
    Protection(
        "condition on delete: the version that was loaded",
        "blocks/s3_objects.py",
        'condition = {"IfMatch": file.etag} if file.etag else {}',
        "condition = {}",
        ("tests/blocks/test_s3_objects.py", "tests/blocks/test_s3_objects_again.py"),
    ),
    Protection(
        "the copy is checked before the original is deleted",
        "blocks/s3_objects.py",
        "if copy is None or not self._same_content(copy, file):",
        "if False:",
        ("tests/blocks/test_s3_objects.py", "tests/blocks/test_s3_objects_again.py"),
    ),
    Protection(
        "condition on claim",
        "blocks/file_ledger/claims.py",
        "existing = self._put(entry, NEVER_CLAIMED)",
        'existing = self._put(entry, f"({NEVER_CLAIMED} OR attribute_exists(#file))")',
        ("tests/blocks/test_file_ledger.py",),
    ),
    Protection(
        "condition on record: still this run's",
        "blocks/file_ledger/claims.py",
        'existing = self._put(entry, f"{NEVER_CLAIMED} OR {BY_THIS_RUN}")',
        'existing = self._put(entry, f"({NEVER_CLAIMED} OR attribute_exists(#file))")',
        ("tests/blocks/test_file_ledger.py", "tests/blocks/test_file_history.py"),
    ),
    Protection(
        "lease: it runs out",
        "blocks/file_ledger/claims.py",
        'LEASE_EXPIRED: Final = f"({UNSETTLED} AND lease_until < :now)"',
        'LEASE_EXPIRED: Final = f"({UNSETTLED} AND lease_until < :now AND attribute_not_exists(#file))"',
        ("tests/blocks/test_file_ledger.py",),
    ),
    Protection(
        "lease: it is renewed while the file is worked on",
        "flows/loading/lease.py",
        "    thread.start()",
        "    thread.run = lambda: None  # type: ignore[method-assign]\n    thread.start()",
        ("tests/flows/test_ingest.py::test_a_load_that_takes_longer_than_its_lease_keeps_the_file",),
    ),
    Protection(
        "fence: it closes when the lease has ended",
        "flows/loading/lease.py",
        "if self._lost_because is None and monotonic() < self._deadline:",
        "if self._deadline:",
        ("tests/flows/loading/test_lease.py",),
    ),
    Protection(
        "fence: a shard stops when its run has lost the file",
        "flows/loading/lease.py",
        """lease.lost("its claim is not that of the shard's run any more")""",
        "pass",
        ("tests/flows/loading/test_lease.py::test_a_shard_reads_the_claim_again_and_again_and_stops_when_it_is_lost",),
    ),
    Protection(
        "fence: checked before each request, over aiohttp",
        "blocks/dynamodb/transports.py",
        "        try:\n            self._fence()",
        "        try:\n            pass",
        ("tests/blocks/dynamodb/test_fence.py",),
    ),
    Protection(
        "fence: checked before each request, over boto3",
        "blocks/dynamodb/boto3_transport.py",
        "        self._fence()\n",
        "",
        ("tests/blocks/dynamodb/test_fence.py",),
    ),
    Protection(
        "lease: a failed load gives it back",
        "flows/loading/lease.py",
        "ledger.release(entry, str(error) or type(error).__name__, counts=blames_file(error))",
        "pass",
        ("tests/flows/test_ingest.py::test_a_file_whose_load_failed_can_be_loaded_by_the_next_run_at_once",),
    ),
    Protection(
        "back-off of writes",
        "blocks/dynamodb/rate_limiter.py",
        "return max(0.0, self._next_at - items / self.rate - now)",
        "return 0.0",
        ("tests/blocks/dynamodb/test_rate_limiter.py", "tests/blocks/dynamodb/test_backpressure.py"),
    ),
    Protection(
        "a file that fails too often moves to failed/",
        "flows/loading/tasks.py",
        "if entry.attempts > ledger.attempts:",
        "if False:",
        (
            "tests/flows/test_ingest.py::test_a_file_that_fails_too_often_is_put_aside_with_its_last_error_and_can_be_moved_back",
        ),
    ),
    Protection(
        "two versions of a file are never loaded at once",
        "blocks/file_ledger/claims.py",
        "if other.is_leased(entry.claimed_at):",
        "if False:",
        ("tests/blocks/test_file_ledger.py",),
    ),
    Protection(
        "sweep: files to retry",
        "flows/sweep.py",
        "announced = announce_files_to_retry(snapshot)",
        "announced: list[SensorFile] = []",
        (
            "tests/flows/test_sweep.py::test_files_that_have_waited_too_long_are_announced_but_for_folders_and_other_prefixes",
        ),
    ),
    Protection(
        "sweep: slots of stalled runs",
        "flows/sweep.py",
        "crashed = crash_stalled_runs(snapshot)",
        "crashed: list[str] = []",
        ("tests/flows/test_sweep.py::test_a_run_whose_process_is_gone_gives_up_its_slot",),
    ),
    Protection(
        "sweep: orphaned leases",
        "flows/sweep.py",
        "    release_orphaned_leases(snapshot)",
        "    pass",
        ("tests/flows/test_sweep.py::test_files_that_a_dead_run_holds_are_freed_and_announced",),
    ),
    Protection(
        "sweep: overdue pauses",
        "flows/sweep.py",
        "resumed = resume_overdue_emails(snapshot)",
        "resumed: list[str] = []",
        ("tests/flows/test_sweep.py::test_an_email_that_nothing_resumed_is_resumed",),
    ),
    Protection(
        "sweep: files without an email",
        "flows/sweep.py",
        "notification = notify_unnotified(snapshot)",
        "notification = None",
        ("tests/flows/test_sweep.py::test_people_are_told_once_of_a_file_that_no_email_was_about",),
    ),
    Protection(
        "email: a run that is started again looks whether it was sent",
        "flows/notify.py",
        "    if not unnotified:",
        "    unnotified = files\n    if not unnotified:",
        ("tests/flows/test_notify.py",),
    ),
    Protection(
        "email: marked as soon as one message was sent",
        "flows/notify.py",
        "if any(message.is_completed() for message in messages):",
        "if all(message.is_completed() for message in messages):",
        ("tests/flows/test_notify.py",),
    ),
    Protection(
        "a second load that dies leaves the file archived",
        "flows/sweep.py",
        "if entry.is_kept:",
        "if not entry:",
        ("tests/flows/test_sweep.py",),
    ),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """1 if a protection can be removed without a failing test."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write-report", type=Path)
    parser.add_argument("names", nargs="*", help="parts of the names of those to take out; all, if none is given")
    asked = parser.parse_args(arguments)
    chosen = [each for each in PROTECTIONS if not asked.names or any(name in each.name for name in asked.names)]
    rows = []
    with tempfile.TemporaryDirectory(prefix="sensor-ingest-without-") as folder:
        copy = Path(folder) / "project"
        shutil.copytree(
            PROJECT, copy, ignore=shutil.ignore_patterns(".venv", ".git", ".local", "__pycache__", ".*_cache")
        )
        for protection in chosen:
            red = red_without(protection, copy)
            sys.stdout.write(f"{protection.name}: {', '.join(red) or 'NO TEST FAILS'}\n")
            sys.stdout.flush()
            rows.append((protection, red))
    if asked.write_report:
        write(rows, asked.write_report)
    return int(not all(red for _, red in rows))


def red_without(protection: Protection, copy: Path) -> list[str]:
    """The tests that fail in the copy without the protection."""
    file = copy / protection.file
    whole = file.read_text(encoding="utf-8")
    file.write_text(whole.replace(protection.line, protection.instead), encoding="utf-8")
    try:
        pytest = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xdist", "-x", "-rfE"]
        done = run_for_at_most(
            SECONDS, [*pytest, *protection.tests], os.environ | {"PYTHONPATH": str(copy)}, folder=copy
        )
    except subprocess.TimeoutExpired:
        return [f"{' '.join(protection.tests)} (they do not end)"]
    finally:
        file.write_text(whole, encoding="utf-8")
    return sorted(set(re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)))


def write(rows: Sequence[tuple[Protection, list[str]]], target: Path) -> None:
    """Replace the list between the two marks of the page."""
    before, _, rest = target.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    lines = ["| without | in | fails |", "| --- | --- | --- |"]
    for protection, red in rows:
        tests = ", ".join(f"`{name.rpartition('::')[2]}`" for name in red) or "**nothing**"
        lines.append(f"| {protection.name} | `{protection.file}` | {tests} |")
    target.write_text("\n".join([f"{before}{BEGIN}", "", *lines, "", f"{END}{after}"]), encoding="utf-8")


if __name__ == "__main__":
    raise SystemExit(main())
