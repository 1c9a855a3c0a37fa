"""The protections against faults: the code of each, and what takes it out.

`make protections` runs the tests without each of them, and the simulation, which must find it; see docs/reliability.md.
"""

from dataclasses import dataclass
from typing import Final

_LEDGER: Final = "tests/blocks/file_ledger"
_WRITER: Final = "the simulation has a writer of its own, which sends a few rows as the real one does"
_NOT_RUN: Final = "the simulation does not run this code: "


@dataclass(frozen=True)
class Protection:
    """One protection. `test_protections.py` checks that its code is there."""

    name: str
    file: str
    line: str
    """Its code, which occurs exactly once in the file."""
    instead: str
    tests: tuple[str, ...]
    """Quick tests, of which at least one must fail without it."""
    unseen: str = ""
    """Why the simulation cannot find that it is missing; empty if it must."""


OWNERSHIP: Final = (
    Protection(
        "claim: on the condition that it has not changed since it was read",
        "blocks/file_ledger/table.py",
        '"ConditionExpression": "revision = :revision",',
        '"ConditionExpression": "revision = :revision OR attribute_exists(revision)",',
        (f"{_LEDGER}/test_claims_at_once.py",),
    ),
    Protection(
        "claim: a key that another run holds is not claimed",
        "blocks/file_ledger/claiming.py",
        "            if claim.is_held_by_another(claim_id, now):\n                if waiting",
        "            if claim.is_held_by_another(claim_id, now) and not entry:\n                if waiting",
        (f"{_LEDGER}/test_claiming.py",),
    ),
    Protection(
        "claim: a lease has expired only when it has so for certain",
        "blocks/file_ledger/claiming.py",
        "claim, entry, now = read.claim, read.entry(version), self._clock.earliest()",
        "claim, entry, now = read.claim, read.entry(version), self._clock.latest()",
        (f"{_LEDGER}/test_claims_at_once.py",),
    ),
    Protection(
        "claim: its lease counts from the latest time it may be",
        "blocks/file_ledger/claiming.py",
        "taken = claim.taken(claim_id, flow_run_id, version, lease=self._lease, now=self._clock.latest())",
        "taken = claim.taken(claim_id, flow_run_id, version, lease=self._lease, now=self._clock.earliest())",
        (f"{_LEDGER}/test_claiming.py",),
    ),
    Protection(
        "claim: the time is that of the table",
        "blocks/file_ledger/table_clock.py",
        '        if "date" not in headers:',
        '        if "no date" not in headers:',
        (f"{_LEDGER}/test_claiming.py", f"{_LEDGER}/test_table_clock.py"),
    ),
    Protection(
        "claim: a version that comes while another is loaded is noted",
        "blocks/file_ledger/claiming.py",
        "return waiting if self._put_claim(claim, claim.noted(version), [read.put(waiting)]) else None",
        "return waiting",
        (f"{_LEDGER}/test_claiming.py",),
        "only history needs it: such a version is announced all the same, but if a third one replaces it before it is "
        "loaded, history would not have it; the simulation does not know which versions a run has seen; "
        "`test_claiming.py` does",
    ),
    Protection(
        "claim: versions that were replaced are settled with it",
        "blocks/file_ledger/claiming.py",
        "if written := self._put_claim(claim, taken, [read.put(started), *puts]):",
        "if written := self._put_claim(claim, taken, [read.put(started)]):",
        (f"{_LEDGER}/test_replaced_versions.py",),
    ),
    Protection(
        "claim: a write whose answer was lost is known by its id",
        "blocks/file_ledger/table.py",
        "return None if _is_of(existing[0], write_id) else from_item(existing[0])",
        "return from_item(existing[0])",
        (f"{_LEDGER}/test_claims_at_once.py",),
        "the change is then made once more, with the same result: it is about needless calls",
    ),
    Protection(
        "lease: it is renewed while a version is loaded",
        "flows/loading/lease.py",
        "with runtime().repeated(lease.renew, every, ",
        "with runtime().repeated(lease.renew, every * 1000, ",
        ("tests/flows/test_ingest.py::test_a_load_that_takes_longer_than_its_lease_keeps_the_file",),
    ),
    Protection(
        "lease: a renewal counts from before its request",
        "blocks/file_ledger/holding.py",
        "        held.asked_at = asked_at\n        return True",
        "        held.asked_at = runtime().monotonic()\n        return True",
        (f"{_LEDGER}/test_renewing.py",),
    ),
    Protection(
        "lease: only the run that holds the key changes its claim",
        "blocks/file_ledger/holding.py",
        "            if claim.claim_id != mine or mine is None:",
        "            if mine is None:",
        (f"{_LEDGER}/test_lost_claims.py",),
    ),
    Protection(
        "fence: nothing is sent once the lease may have expired",
        "flows/loading/lease.py",
        "if self._lost or runtime().monotonic() - self.held.asked_at >= seconds - seconds * FENCE_MARGIN:",
        "if not seconds:",
        ("tests/flows/loading/test_lease.py",),
    ),
    Protection(
        "fence: it is asked before each send",
        "blocks/dynamodb/transports.py",
        "            self._fence()",
        "            pass",
        ("tests/blocks/dynamodb/test_fence.py",),
        _WRITER,
    ),
    Protection(
        "late rows: expected when a claim is taken over",
        "blocks/file_ledger/claim_rules.py",
        "return replace(self.with_late_writes(self.epoch, self.holds, now).released(now), next_try_at=now)",
        "return replace(self.released(now), next_try_at=now)",
        (f"{_LEDGER}/test_late_writes.py",),
    ),
    Protection(
        "late rows: expected after a load with sends that were not answered",
        "flows/loading/lease.py",
        "self._ledger.settle(self.held, settled, unanswered=self.unanswered)",
        "self._ledger.settle(self.held, settled)",
        ("tests/flows/loading/test_lease.py",),
    ),
    Protection(
        "late rows: expected after a failed load with sends that were not answered",
        "flows/loading/lease.py",
        "counts, unanswered = blames_file(error), self.unanswered",
        "counts, unanswered = blames_file(error), False",
        ("tests/flows/loading/test_lease.py", "tests/simulation/test_interleavings.py"),
        "rare things in a row: a load that fails, a late send of it, and a newer version meanwhile; "
        "`test_interleavings.py` plays them",
    ),
    Protection(
        "late rows: expected after a reload with sends that were not answered",
        "flows/loading/lease.py",
        "self._ledger.end_reload(self.held, unanswered=self.unanswered)",
        "self._ledger.end_reload(self.held)",
        ("tests/flows/loading/test_lease.py", "tests/simulation/test_interleavings.py"),
        "three rare things in a row: the last reload, a late send of it, and a newer version meanwhile; "
        "`test_interleavings.py` plays them",
    ),
    Protection(
        "late rows: expected for as long as a signature and the skew of clocks let them in",
        "blocks/file_ledger/claim_rules.py",
        "LATE_WRITES_END_AFTER: Final = timedelta(minutes=10)",
        "LATE_WRITES_END_AFTER: Final = timedelta(minutes=1)",
        (f"{_LEDGER}/test_late_writes.py", f"{_LEDGER}/test_reloads.py"),
    ),
    Protection(
        "late rows: what was loaded meanwhile is written again",
        "blocks/file_ledger/claim_rules.py",
        "return replace(done, reload_at=min(self.reload_at or self.late_until, self.late_until))",
        "return done",
        (f"{_LEDGER}/test_late_writes.py",),
    ),
    Protection(
        "late rows: written again once more while rows can arrive",
        "blocks/file_ledger/claim_rules.py",
        "if self.late_until is not None and self.late_until > began_at:",
        "if self.late_until is not None and began_at is None:",
        (f"{_LEDGER}/test_late_writes.py",),
    ),
    Protection(
        "late rows: the versions are written again in the order of their epochs",
        "blocks/file_ledger/claiming.py",
        "(entry for entry in kept if entry.epoch > (claim.late_epoch or 0)), key=lambda entry: entry.epoch",
        "(entry for entry in kept if entry.epoch > (claim.late_epoch or 0)), key=lambda entry: -entry.epoch",
        (f"{_LEDGER}/test_reloads.py",),
    ),
    Protection(
        "late rows: a run that was overtaken has them written again at once",
        "flows/loading/lease.py",
        "            self._ledger.overtaken(self.held)",
        "            pass",
        ("tests/flows/loading/test_lease.py",),
    ),
)

LOADING: Final = (
    Protection(
        "load: the version is looked at again after the claim",
        "flows/loading/tasks.py",
        "with run_blocks().landing_zone.opened_current(file) as body:",
        "with run_blocks().landing_zone.opened(file) as body:",
        ("tests/flows/loading/test_order_of_steps.py",),
    ),
    Protection(
        "move: the copy is made before the entry is settled",
        "flows/loading/tasks.py",
        "    archived_to = entry.archived_to or zone.store_copy(file, status)",
        "    key = file.key.replace(zone.incoming_prefix, f'{status}/', 1)\n"
        "    archived_to = entry.archived_to or f's3://{file.bucket}/{key}'\n"
        "    _recorded(entry.model_copy(update={'status': status, 'archived_to': archived_to}), lease)\n"
        "    archived_to = entry.archived_to or zone.store_copy(file, status)",
        ("tests/flows/loading/test_order_of_steps.py",),
    ),
    Protection(
        "move: the entry is settled before the original is deleted",
        "flows/loading/tasks.py",
        "    archived_to = entry.archived_to or zone.store_copy(file, status)\n    settled",
        "    archived_to = entry.archived_to or zone.store_copy(file, status)\n    zone.remove(file)\n    settled",
        ("tests/flows/loading/test_order_of_steps.py",),
    ),
    Protection(
        "newer version: the run that holds the key goes on with it",
        "blocks/file_ledger/holding.py",
        "lambda claim: claim if claim.unsettled else claim.released(self._clock.latest())",
        "lambda claim: claim.released(self._clock.latest())",
        (f"{_LEDGER}/test_settling.py",),
        "it costs time only: the key is due at once, so the relay announces it, and another run loads the version some "
        "seconds later; `make test-faults` demands that the same run does",
    ),
    Protection(
        "newer version: found when the original is deleted",
        "flows/loading/tasks.py",
        "    if file.uri != archived_to and not zone.remove(file):\n        lease.key_stays_held = True",
        "    if file.uri != archived_to:\n        zone.remove(file)",
        ("tests/flows/loading/test_order_of_steps.py",),
        "it spares time only: the event of the newer version brings a run to it, or else the sweep does",
    ),
    Protection(
        "failed load: its back-off is kept",
        "blocks/file_ledger/holding.py",
        "            return late.put_off(later, now)",
        "            return late.released(now)",
        (f"{_LEDGER}/test_failed_loads.py",),
    ),
    Protection(
        "failed load: a version that is settled, although no answer said so, stays settled",
        "blocks/file_ledger/holding.py",
        "            written[:] = [waiting] if waiting and waiting.version in claim.unsettled else []",
        "            written[:] = [waiting] if waiting else []",
        (f"{_LEDGER}/test_failed_loads.py",),
        "the version is loaded once more, and ends the same; only an email says that it failed, which the simulation "
        "does not tell from a load that did; `test_failed_loads.py` does",
    ),
    Protection(
        "load: a version that is settled and cannot be moved is reported as settled",
        "flows/loading/ingest_file.py",
        "    if lease and lease.settled:  # the key stays due until the file has left `incoming/`",
        "    if False:",
        ("tests/flows/test_ingest.py::test_a_settled_file_that_cannot_be_moved_is_reported_as_done_and_stays_due",),
        "the email has what the ledger says in place of the error, which is a protection of its own; only the reports "
        "of the run differ, and `test_ingest.py` looks at them",
    ),
    Protection(
        "newer version: an announcement that the server loses is due after the load",
        "blocks/file_ledger/claim_rules.py",
        "noted = self if self.claim_id is None else replace(self, expected_by=at)",
        "noted = self",
        (f"{_LEDGER}/test_claim_rules.py",),
    ),
    Protection(
        "announcement: what comes after the look at the bucket is looked for once more",
        "flows/loading/claim_step.py",
        "    return (now is None or now == found) and ledger.clear_due(as_read, claim_id)",
        "    return ledger.clear_due(as_read, claim_id)",
        ("tests/simulation/test_announcements.py",),
        "the event comes between two calls, and the run dies between two others: the first seed that did was 16,235; "
        "`test_announcements.py` plays every pair of calls",
    ),
    Protection(
        "announcement: what comes after the second look at the bucket stays due",
        "flows/loading/claim_step.py",
        "    as_read, now = ledger.claim_of(file.bucket, file.key), _found(file)",
        "    now, as_read = _found(file), ledger.claim_of(file.bucket, file.key)",
        ("tests/simulation/test_announcements.py",),
        "the event comes between two calls, and the run dies between two others, as above; "
        "`test_announcements.py` plays every pair of calls",
    ),
    Protection(
        "announcement: a reload and a load from the archive keep it",
        "blocks/file_ledger/claim_rules.py",
        "expected_by=min(filter(None, times), default=None))",
        "expected_by=None)",
        ("tests/simulation/test_announcements.py", f"{_LEDGER}/test_claim_rules.py"),
        "the run of an announcement must die while a reload begins; `test_announcements.py` plays it",
    ),
    Protection(
        "announcement: a reload that is due does not hide it",
        "blocks/file_ledger/claim_rules.py",
        "        for_reload = self.next_try_at == self.reload_at and not self.announcements",
        "        for_reload = self.next_try_at == self.reload_at",
        ("tests/simulation/test_announcements.py",),
        "the end of a load of over ten minutes must meet a look, a landing and a death; test_announcements plays it",
    ),
    Protection(
        "deleted version: it is closed although the key has another one",
        "flows/loading/claim_step.py",
        "    done += _closed(found, claim_id, email)",
        "",
        ("tests/simulation/test_announcements.py",),
        "the simulation's senders delete no version by its id",
    ),
    Protection(
        "announcement: what comes before a version is settled where it is, is looked for",
        "flows/loading/tasks.py",
        "    lease.key_stays_held = True  # nothing has looked whether another version has come\n",
        "",
        ("tests/simulation/test_announcements.py",),
        "a version must land between two calls of a load that fails for good; `test_announcements.py` plays it",
    ),
    Protection(
        "announcement: what comes just before a reload is looked for after it",
        "flows/loading/ingest_file.py",
        "        if is_from_incoming and not lease.key_stays_held:",
        "        if not lease.key_stays_held:",
        ("tests/flows/loading/test_ingest_file.py",),
        "it spares time only: the run of that announcement comes to it, or else the key is due for it",
    ),
    Protection(
        "announcement: it counts although the lease has expired, if its run renews it",
        "blocks/file_ledger/claim_rules.py",
        "        noted = self if self.claim_id is None else replace(self, expected_by=at)",
        "        noted = replace(self, expected_by=at) if self.is_held(now) else self",
        (f"{_LEDGER}/test_claim_rules.py",),
        "an announcement must come between the end of a lease and its late renewal, and the server must lose its run; "
        "`test_claim_rules.py` has these moments",
    ),
    Protection(
        "failed reload: no email says that its files failed",
        "flows/loading/ingest_file.py",
        "    if lease and lease.is_reload:",
        "    if lease and lease.is_reload and not lease:",
        ("tests/flows/loading/test_ingest_file.py",),
        "the oracle looks for versions that no email is about, not for words that one should not say; "
        "`test_ingest_file.py` does",
    ),
    Protection(
        "failed reload: it is tried less and less often",
        "blocks/file_ledger/holding.py",
        "_back_off(entry.tries if entry else held.claim.reload_tries)",
        "_back_off(entry.tries if entry else 1)",
        ("tests/flows/loading/test_ingest_file.py",),
        "the simulation's reloads fail a few times at most",
    ),
    Protection(
        "email: what is settled although no answer said so is in it",
        "flows/notification/collecting.py",
        "        return [*(report for report in reports if report not in errors), *unawares]",
        "        return list(reports)",
        ("tests/flows/loading/test_ingest_file.py",),
    ),
    Protection(
        "failed load: its claim ends",
        "flows/loading/lease.py",
        "waiting = self._ledger.release(self.held, entry, problem, counts=counts, unanswered=unanswered)",
        "waiting = entry",
        ("tests/flows/test_ingest.py::test_a_file_whose_load_failed_can_be_loaded_by_the_next_run_at_once",),
        "the claim then ends with its lease: the load is tried again a minute later, with the same result",
    ),
    Protection(
        "failed load: a file that fails too often moves to failed/",
        "flows/recovery/retry_policy.py",
        "    if entry.attempts <= ledger.attempts:\n        return False",
        "    return False",
        (
            "tests/flows/test_ingest.py::test_a_file_that_fails_too_often_is_put_aside_with_its_last_error_and_can_be_moved_back",
        ),
        "no file in the simulation fails by its own fault",
    ),
    Protection(
        "condition on copy: the version that was loaded",
        "blocks/s3_objects.py",
        'condition = {"CopySourceIfMatch": file.etag} if file.etag else {}',
        "condition = {}",
        ("tests/blocks/test_s3_objects.py", "tests/blocks/test_s3_objects_again.py"),
        "the bucket of the simulation has versions, and the version id names the source; this is for buckets without",
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
        "no copy in the simulation is cut off",
    ),
    Protection(
        "a file that is put back overwrites nothing in incoming/",
        "blocks/landing_zone.py",
        "if self.listed(target):",
        "if False:",
        ("tests/blocks/test_put_back.py",),
        f"{_NOT_RUN}no person puts a file back",
    ),
    Protection(
        "a load cannot take the file that is being put back for its own copy",
        "blocks/landing_zone.py",
        "versioned_key(on_its_way, PUT_BACK)",
        "on_its_way",
        ("tests/blocks/test_put_back.py",),
        f"{_NOT_RUN}no person puts a file back",
    ),
    Protection(
        "writer: rows that DynamoDB hands back are sent again",
        "blocks/dynamodb/batch_writer.py",
        "            self._retry(rest, self._throttled(len(unprocessed)))",
        "            self._ready.task_done()",
        ("tests/blocks/dynamodb/test_what_arrives.py",),
        _WRITER,
    ),
    Protection(
        "writer: back-off of writes",
        "blocks/dynamodb/rate_limiter.py",
        "return max(0.0, self._next_at - items / self.rate - now)",
        "return 0.0",
        ("tests/blocks/dynamodb/test_rate_limiter.py", "tests/blocks/dynamodb/test_backpressure.py"),
        _WRITER,
    ),
    Protection(
        "rows: a file over the reject limit is refused",
        "flows/rows/validation.py",
        "if counts.rejected <= Fraction(str(limit)) * counts.rows:",
        "if counts.rows:",
        ("tests/flows/rows/test_limits_of_files.py",),
        f"{_NOT_RUN}its files have no broken rows",
    ),
)

RECOVERY: Final = (
    Protection(
        "relay: a file is expected before it is announced",
        "deployments/relay/relay.py",
        "            retry(partial(self._expect, files))",
        "            pass",
        ("tests/deployments/relay/test_relay_and_ledger.py",),
    ),
    Protection(
        "relay: a message is deleted after its event is acknowledged",
        "deployments/relay/relay.py",
        "            retry(partial(self._expect, files))\n",
        "            self.queue.delete(list(batch.messages))\n            retry(partial(self._expect, files))\n",
        ("tests/deployments/relay/test_relay.py",),
    ),
    Protection(
        "due files: expected again before they are announced",
        "flows/recovery/due_files.py",
        "    ledger.expect(files, CLAIMED_WITHIN)",
        "    pass",
        ("tests/flows/recovery/test_due_files.py",),
        "the key stays due, and is announced at each look: it is about needless runs",
    ),
    Protection(
        "due files: the key of a run that died is due at once, also if it had settled the version",
        "blocks/file_ledger/claim_rules.py",
        "return replace(self.with_late_writes(self.epoch, self.holds, now).released(now), next_try_at=now)",
        "return self.with_late_writes(self.epoch, self.holds, now).released(now)",
        (f"{_LEDGER}/test_late_writes.py",),
    ),
    Protection(
        "due files: under the limit of run slots",
        "flows/recovery/due_files.py",
        "        if not slots.take():",
        "        if slots.take() is None:",
        ("tests/flows/recovery/test_due_files.py",),
        "runs without a slot wait for one, and nothing is wrong at the end; it is about the load on the server",
    ),
    Protection(
        "due files: a poison file alone",
        "flows/recovery/due_files.py",
        "    return attempts > 1",
        "    return attempts < 0",
        ("tests/flows/recovery/test_due_files.py",),
        "no file in the simulation kills each run that loads it",
    ),
    Protection(
        "due files: announced less and less often",
        "blocks/file_ledger/claim_table.py",
        "pause = min(within * 2**doublings, max(within, LONGEST_WITHOUT_CLAIM))",
        "pause = min(within, doublings * within + within)",
        ("tests/flows/recovery/test_due_files.py",),
        "a key that no run claims for so long does not occur in the simulation; it is about the load on the server",
    ),
    Protection(
        "due files: another thread of the relay looks for them",
        "deployments/relay/relay.py",
        "threads.enter_context(runtime().repeated(chore.look, every, name))",
        "del chore, every, name",
        (
            "tests/deployments/relay/test_relay_and_ledger.py::test_while_the_queue_is_empty_another_thread_announces_due_files",
        ),
    ),
    Protection(
        "unannounced files: not those that are due later",
        "flows/recovery/unannounced.py",
        "claim.next_try_at is None and not",
        "not",
        ("tests/flows/recovery/test_unannounced.py",),
        "the run that is started too early finds the key held or loads it: it is about needless runs",
    ),
    Protection(
        "unannounced files: not those that failed for good",
        "flows/recovery/unannounced.py",
        "        and entry.archived_to is None",
        "        and entry.archived_to == entry",
        ("tests/flows/recovery/test_unannounced.py",),
        "no file in the simulation fails for good",
    ),
    Protection(
        "silent runs: the relay counts only silence that it has seen",
        "flows/recovery/silent_runs.py",
        "known = self._signs if now - self._looked_at < self._silence / 2 else {}",
        "known = self._signs",
        ("tests/flows/recovery/test_silent_runs.py",),
        f"{_NOT_RUN}its Prefect server itself ends silent runs, and some that live",
    ),
    Protection(
        "silent runs: the sweep looks twice",
        "flows/recovery/silent_runs.py",
        "return [run for run in silent() if last_signs.get(run.id) == run.last_sign]",
        "return [run for run in active_runs(client) if run.id in last_signs]",
        ("tests/flows/recovery/test_silent_runs.py",),
        f"{_NOT_RUN}its Prefect server itself ends silent runs, and some that live",
    ),
    Protection(
        "sweep: slots of silent runs",
        "flows/sweep.py",
        "crashed = steps.done(end_silent_runs, [], silent_after_seconds)",
        "crashed: list[str] = []",
        ("tests/flows/test_sweep.py::test_a_run_whose_process_is_gone_gives_up_its_slot",),
        f"{_NOT_RUN}it runs the steps of a sweep one by one",
    ),
    Protection(
        "sweep: due files",
        "flows/sweep.py",
        "announced = steps.done(announce_due_files, [], slots)",
        "announced: list[SensorFile] = []",
        ("tests/flows/test_sweep.py::test_files_that_a_run_holds_are_left_to_it_until_its_lease_ends",),
        f"{_NOT_RUN}it runs the steps of a sweep one by one",
    ),
    Protection(
        "sweep: files that were never announced",
        "flows/sweep.py",
        "announced = announced + steps.done(announce_unannounced_files, [], slots, older_than_seconds)",
        "announced = [*announced]",
        (
            "tests/flows/test_sweep.py::test_files_that_were_never_announced_are_announced_but_for_folders_and_other_prefixes",
        ),
        f"{_NOT_RUN}it runs the steps of a sweep one by one",
    ),
    Protection(
        "sweep: without a free slot, files are left to the relay",
        "flows/sweep.py",
        "            ledger.make_due(group)",
        "            pass",
        ("tests/flows/test_sweep.py::test_without_a_free_slot_files_are_left_to_the_relay",),
        "the next sweep announces them: it is about time, and no file of the simulation needs a second sweep by then",
    ),
    Protection(
        "sweep: overdue emails",
        "flows/sweep.py",
        "emails = steps.done(send_overdue_emails, OverdueEmails())",
        "emails = OverdueEmails()",
        ("tests/flows/test_sweep.py::test_an_overdue_email_without_a_run_is_sent_once",),
        f"{_NOT_RUN}it runs the steps of a sweep one by one",
    ),
    Protection(
        "sweep: a step that fails stops no other",
        "flows/sweep.py",
        "error = state.result(raise_on_failure=False)",
        "error = state.result()",
        ("tests/flows/test_sweep.py::test_a_step_that_fails_stops_no_other_and_fails_the_sweep",),
        f"{_NOT_RUN}it runs the steps of a sweep one by one",
    ),
)

EMAILS: Final = (
    Protection(
        "email: recorded before the first file is claimed",
        "blocks/file_ledger/outbox.py",
        "return ClaimedEmail(self.change_email(OutboxEmail(email_id), collecting), email_id, asked_at)",
        "return ClaimedEmail(collecting(OutboxEmail(email_id)), email_id, asked_at)",
        (f"{_LEDGER}/test_outbox.py",),
    ),
    Protection(
        "email: on the condition that it has not changed since it was read",
        "blocks/file_ledger/outbox.py",
        "existing = self._write([Put(email_attributes(written), email.revision)])",
        "existing = self._write([Put(email_attributes(written))])",
        (f"{_LEDGER}/test_outbox.py",),
    ),
    Protection(
        "email: claimed before SES is called",
        "blocks/file_ledger/outbox.py",
        "        email = self.change_email(before, claimed)",
        "        email = claimed(before)",
        (f"{_LEDGER}/test_outbox.py",),
    ),
    Protection(
        "email: not sent by two runs",
        "blocks/file_ledger/outbox.py",
        "            if email.is_claimed_by_another(claim_id, self._clock.earliest()):",
        "            if email.sent_at:",
        (f"{_LEDGER}/test_outbox.py",),
    ),
    Protection(
        "email: a run that is started again finds that it was sent",
        "blocks/file_ledger/outbox.py",
        '        return None if email.state == "sent" else ClaimedEmail(email, claim_id, asked_at)',
        "        return ClaimedEmail(email, claim_id, asked_at)",
        (f"{_LEDGER}/test_outbox.py",),
        "it then finds that each recipient has its message, and sends nothing: only its answer differs",
    ),
    Protection(
        "email: each message is recorded before the next is sent",
        "flows/notify.py",
        "                record(claimed, group.recipients, message_id)",
        "                claimed.email = claimed.email.with_message(group.recipients, message_id)",
        ("tests/flows/test_notify.py",),
    ),
    Protection(
        "email: a message that SES has taken is not sent again",
        "flows/notify.py",
        "        if group.message_id is None:",
        "        if group.recipients:",
        ("tests/flows/test_notify.py",),
    ),
    Protection(
        "email: kept by the run that collects for it",
        "flows/notification/collecting.py",
        '    with _kept(collection.keep, "email"):\n        yield collection',
        "    yield collection",
        ("tests/flows/notification/test_collecting.py",),
        "the run is then taken for dead, and begins another email: each version is still in one",
    ),
    Protection(
        "email: a run that was taken for dead begins another one",
        "flows/notification/collecting.py",
        "        if not run_blocks().file_ledger.keep_email(claimed) and self._claimed is claimed and ",
        "        if run_blocks().file_ledger.keep_email(claimed) is None and ",
        ("tests/flows/notification/test_collecting.py",),
        "what it has settled is then in another email all the same, as what is settled at that moment",
    ),
    Protection(
        "email: a run that was taken for dead reports nothing twice",
        "flows/notification/collecting.py",
        "        return [report for report in reports if not is_covered(report)]",
        "        return list(reports)",
        ("tests/flows/notification/test_collecting.py",),
        "a version may be in two emails anyway: of a run whose load of it failed, and of the run that has loaded it",
    ),
    Protection(
        "email: what a run settled once more, after its email was made, is in the next one",
        "flows/notification/collecting.py",
        "            ids = [settled_for] if settled_for else self._earlier",
        "            ids = self._earlier",
        ("tests/flows/notification/test_collecting.py",),
        "it takes more than 40,000 seeds (41430)",
    ),
    Protection(
        "email of a run that died: made when none of its writes can succeed any more",
        "flows/notification/overdue.py",
        "    disowned = [ledger.disown(bucket, key, run_id) for bucket, key, _ in email.files]",
        "    disowned = [bool(run_id)]",
        ("tests/flows/notification/test_overdue.py", f"{_LEDGER}/test_sequences.py"),
    ),
    Protection(
        "overdue emails: the email of an ingest run that died",
        "flows/notification/overdue.py",
        '    if email.state == "collecting":',
        "    if email.sent_at:",
        ("tests/flows/notification/test_overdue.py",),
    ),
    Protection(
        "overdue emails: one process takes up each",
        "flows/notification/overdue.py",
        "    elif ledger.taken_up(email, counts=True) is None:",
        "    elif email.sent_at:",
        ("tests/flows/notification/test_overdue.py",),
        "a second run finds that the email is claimed or sent: it is about needless runs",
    ),
    Protection(
        "overdue emails: one that fails stops no other",
        "flows/notification/overdue.py",
        "                _ask_server(client)\n",
        "                raise\n",
        ("tests/flows/notification/test_overdue.py",),
        "no email in the simulation fails over and over",
    ),
    Protection(
        "overdue emails: not put off while the server is away",
        "flows/notification/overdue.py",
        "                _ask_server(client)\n",
        "",
        ("tests/flows/notification/test_overdue.py",),
        "its Prefect server raises other errors when it is away",
    ),
    Protection(
        "email backlog: only what no run has ever claimed",
        "blocks/file_ledger/due.py",
        '                waits = email.state == "waiting" and email.claim_id is None and not email.groups\n',
        '                waits = email.state == "waiting"\n',
        ("tests/flows/notification/test_backlog.py",),
        "it keeps the pause of an email that SES has refused; a run that has claimed one keeps it all the same",
    ),
    Protection(
        "email backlog: the run whose email was sent does not begin",
        "flows/notification/backlog.py",
        "    client.set_flow_run_state(run.id, completed)",
        "    assert completed",
        ("tests/flows/notification/test_backlog.py",),
        "it then finds that its email was sent: it is about needless runs",
    ),
    Protection(
        "email: a message that SES may have taken is not sent again by the same run",
        "flows/notify.py",
        "retry_condition_fn=retry_condition_if_not_done",
        "retry_condition_fn=retry_condition",
        ("tests/flows/test_notify.py",),
        "it allows for one more email for each request to SES without an answer",
    ),
)

PROTECTIONS: Final = (*OWNERSHIP, *LOADING, *RECOVERY, *EMAILS)
