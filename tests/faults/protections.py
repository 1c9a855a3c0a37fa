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
        "a file that is put back overwrites nothing in incoming/",
        "blocks/landing_zone.py",
        "if self.listed(target):",
        "if False:",
        ("tests/blocks/test_put_back.py",),
    ),
    Protection(
        "a load cannot take the file that is being put back for its own copy",
        "blocks/landing_zone.py",
        "versioned_key(on_its_way, PUT_BACK)",
        "on_its_way",
        ("tests/blocks/test_put_back.py",),
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
        "    renewing.start()",
        "    renewing.run = lambda: None  # type: ignore[method-assign]\n    renewing.start()",
        ("tests/flows/test_ingest.py::test_a_load_that_takes_longer_than_its_lease_keeps_the_file",),
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
        "if entry.attempts > run_blocks().file_ledger.attempts:",
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
        "due files: expected again before they are announced",
        "flows/recovery/due_files.py",
        "    ledger.expect(files, CLAIMED_WITHIN)",
        "    pass",
        ("tests/flows/recovery/test_due_files.py",),
    ),
    Protection(
        "due files: under the limit of run slots",
        "flows/recovery/due_files.py",
        "        if not slots.take():",
        "        if slots.take() is None:",
        ("tests/flows/recovery/test_due_files.py",),
    ),
    Protection(
        "due files: a poison file alone",
        "flows/recovery/due_files.py",
        "return due.entry is not None and due.entry.attempts > 1",
        "return False",
        ("tests/flows/recovery/test_due_files.py",),
    ),
    Protection(
        "due files: announced less and less often",
        "blocks/file_ledger/claim_table.py",
        "pause = min(within * 2**doublings, max(within, LONGEST_WITHOUT_CLAIM))",
        "pause = min(within, doublings * within + within)",
        ("tests/flows/recovery/test_due_files.py",),
    ),
    Protection(
        "due files: another thread looks for them",
        "deployments/relay/relay.py",
        "threads.enter_context(runtime().repeated(chore.look, every, name))",
        "del chore, every, name",
        ("tests/deployments/relay/test_relay.py::test_while_the_queue_is_empty_another_thread_announces_due_files",),
    ),
    Protection(
        "relay: a file is expected before it is announced",
        "deployments/relay/relay.py",
        "            retry(partial(self._expect, files))",
        "            pass",
        ("tests/deployments/relay/test_relay.py",),
    ),
    Protection(
        "unannounced files: not those that are due later",
        "flows/recovery/unannounced.py",
        "claim.next_try_at is None and not",
        "not",
        ("tests/flows/recovery/test_unannounced.py",),
    ),
    Protection(
        "unannounced files: not those that failed for good",
        "flows/recovery/unannounced.py",
        "        and entry.archived_to is None",
        "        and entry.archived_to == entry",
        ("tests/flows/recovery/test_unannounced.py",),
    ),
    Protection(
        "silent runs: the relay counts only silence that it has seen",
        "flows/recovery/stalled_runs.py",
        "known = self._signs if now - self._looked_at < self._silence / 2 else {}",
        "known = self._signs",
        ("tests/flows/recovery/test_stalled_runs.py",),
    ),
    Protection(
        "silent runs: the sweep looks twice",
        "flows/recovery/stalled_runs.py",
        "return [run for run in silent() if last_signs.get(run.id) == run.last_sign]",
        "return [run for run in active_runs(client) if run.id in last_signs]",
        ("tests/flows/recovery/test_stalled_runs.py",),
    ),
    Protection(
        "sweep: slots of silent runs",
        "flows/sweep.py",
        "crashed = steps.done(end_silent_runs, [], stalled_after_seconds)",
        "crashed: list[str] = []",
        ("tests/flows/test_sweep.py::test_a_run_whose_process_is_gone_gives_up_its_slot",),
    ),
    Protection(
        "sweep: due files",
        "flows/sweep.py",
        "announced = steps.done(announce_due_files, [], slots)",
        "announced: list[SensorFile] = []",
        ("tests/flows/test_sweep.py::test_files_that_a_run_holds_are_left_to_it_until_its_lease_ends",),
    ),
    Protection(
        "sweep: files that were never announced",
        "flows/sweep.py",
        "announced = announced + steps.done(announce_unannounced_files, [], slots, older_than_seconds)",
        "announced = [*announced]",
        (
            "tests/flows/test_sweep.py::test_files_that_were_never_announced_are_announced_but_for_folders_and_other_prefixes",
        ),
    ),
    Protection(
        "sweep: without a free slot, files are left to the relay",
        "flows/sweep.py",
        "            ledger.make_due(group)",
        "            pass",
        ("tests/flows/test_sweep.py::test_without_a_free_slot_files_are_left_to_the_relay",),
    ),
    Protection(
        "sweep: overdue emails",
        "flows/sweep.py",
        "emails = steps.done(send_overdue_emails, OverdueEmails())",
        "emails = OverdueEmails()",
        ("tests/flows/test_sweep.py::test_an_overdue_email_without_a_run_is_sent_once",),
    ),
    Protection(
        "sweep: a step that fails stops no other",
        "flows/sweep.py",
        "error = state.result(raise_on_failure=False)",
        "error = state.result()",
        ("tests/flows/test_sweep.py::test_a_step_that_fails_stops_no_other_and_fails_the_sweep",),
    ),
    Protection(
        "overdue emails: one process takes up each",
        "flows/notification/overdue.py",
        "    elif ledger.taken_up(email, counts=True) is None:",
        "    elif email.sent_at:",
        ("tests/flows/notification/test_overdue.py",),
    ),
    Protection(
        "overdue emails: one that fails stops no other",
        "flows/notification/overdue.py",
        "            except TransportError:",
        "            except Exception:",
        ("tests/flows/notification/test_overdue.py",),
    ),
    Protection(
        "overdue emails: the email of an ingest run that died",
        "flows/notification/overdue.py",
        '    if email.state == "collecting":',
        "    if email.sent_at:",
        ("tests/flows/notification/test_overdue.py",),
    ),
    Protection(
        "overdue emails: not put off while the server is away",
        "flows/notification/overdue.py",
        "            except TransportError:\n                raise\n",
        "",
        ("tests/flows/notification/test_overdue.py",),
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
