"""Emails in the ledger's table: collected, claimed before SES is called, and sent to each recipient once."""

from dataclasses import replace
from datetime import timedelta

import pytest

from blocks.domain.errors import EmailClaimedElsewhereError
from blocks.domain.models import FileReport, LedgerEntry
from blocks.file_ledger import FileLedger
from blocks.file_ledger.emails import OVERDUE_AFTER, OutboxEmail
from blocks.file_ledger.outbox import ClaimedEmail
from tests.blocks.conftest import Line
from tests.blocks.ledger_entries import FILE, finished, load, own, pass_time, seconds_until, version

GROUPS = [["ada@example.com", "bob@example.com"], ["eve@example.com"]]
B = FILE.model_copy(update={"key": "incoming/b.csv"})


def report(name: str = "v1", key: str = FILE.key) -> FileReport:
    return FileReport(bucket="landing", key=key, version=name, status="archived")


def versions(email: OutboxEmail) -> list[tuple[str, str]]:
    return [(key, name) for _, key, name in email.files]


def claim(ledger: FileLedger, claim_id: str = "n1", email_id: str = "e1") -> ClaimedEmail:
    claimed = ledger.claim_email(email_id, claim_id, [report()], GROUPS)
    assert claimed
    return claimed


def load_for(ledger: FileLedger, email_id: str, name: str = "v1", claim_id: str = "c1") -> LedgerEntry:
    """The settled entry of a version, whose run collects for that email."""
    owned = own(ledger, version(name), claim_id, email_id=email_id)
    entry = finished(owned.entry, "archived")
    ledger.settle(owned.held, entry)
    ledger.end_claim(owned.held)
    return entry


@pytest.fixture
def waiting(file_ledger: FileLedger) -> FileLedger:
    """A ledger with the email e1, which waits to be sent."""
    file_ledger.collect("e1", [FILE], 0)
    assert "e1" == file_ledger.finish_collecting("e1", [report()], timedelta(0))
    return file_ledger


# ---- Collecting -----------------------------------------------------------------------------------------------------


def test_an_email_is_recorded_before_its_files_are_loaded(file_ledger: FileLedger) -> None:
    claimed = file_ledger.collect("e1", [FILE, B], 600)
    email = file_ledger.email("e1")
    assert claimed.email == email
    decoded = "incoming/a b c é.csv"  # a key that was announced may be encoded
    files = [(FILE.key, ""), (decoded, ""), (B.key, "")]
    assert ("collecting", files, 600) == (email.state, versions(email), email.wait_seconds)
    assert 59 < seconds_until(file_ledger, email.next_try_at) < 63
    assert email.next_try_at == email.lease_until


def test_the_lease_of_an_email_does_not_depend_on_the_clock_of_a_ledger_that_was_never_asked(
    file_ledger: FileLedger, dynamodb_line: Line
) -> None:
    fresh = FileLedger(table_name=file_ledger.table_name, credentials=file_ledger.credentials)
    with dynamodb_line.answering("BatchGetItem"):
        fresh.collect("e1", [FILE], 0)
        fresh.collect("e2", [FILE], 0)
    assert 1 == len(dynamodb_line.calls)


def test_a_run_keeps_the_email_that_it_collects_for(file_ledger: FileLedger) -> None:
    claimed = file_ledger.collect("e1", [FILE], 600)
    pass_time(file_ledger, 55)
    assert file_ledger.keep_email(claimed)
    pass_time(file_ledger, 55)
    assert [] == list(file_ledger.due_emails())
    with pytest.raises(EmailClaimedElsewhereError, match="e1"):
        claim(file_ledger)


def test_a_collected_email_waits_for_its_time_with_the_versions_it_is_about(file_ledger: FileLedger) -> None:
    file_ledger.collect("e1", [FILE, B], 600)
    assert "e1" == file_ledger.finish_collecting("e1", [report("v1"), report("v2")], timedelta(seconds=600))
    email = file_ledger.email("e1")
    assert ("waiting", [(FILE.key, "v1"), (FILE.key, "v2")], None) == (email.state, versions(email), email.claim_id)
    assert 599 < seconds_until(file_ledger, email.due_at) < 603
    assert email.due_at
    assert email.due_at + OVERDUE_AFTER == email.next_try_at


def test_a_run_no_longer_keeps_an_email_that_it_has_collected(file_ledger: FileLedger) -> None:
    claimed = file_ledger.collect("e1", [FILE], 600)
    file_ledger.finish_collecting("e1", [report()], timedelta(0))
    before = file_ledger.email("e1")
    pass_time(file_ledger, 1)
    assert not file_ledger.keep_email(claimed)
    assert before == file_ledger.email("e1")


def test_an_email_about_nothing_is_done(file_ledger: FileLedger) -> None:
    file_ledger.collect("e1", [FILE], 600)
    assert file_ledger.finish_collecting("e1", [], timedelta(0)) is None
    assert ("sent", None, None) == ((email := file_ledger.email("e1")).state, email.next_try_at, email.sent_at)


def test_collecting_twice_makes_one_email(file_ledger: FileLedger, dynamodb_line: Line) -> None:
    with dynamodb_line.sent_twice("PutItem"):
        file_ledger.collect("e1", [FILE], 600)
        assert "e1" == file_ledger.finish_collecting("e1", [report()], timedelta(0))
    assert (2, "waiting") == ((email := file_ledger.email("e1")).revision, email.state)
    again = file_ledger.collect("e1", [B], 600)
    assert email == again.email == file_ledger.email("e1")


# ---- A run that was taken for dead ----------------------------------------------------------------------------------


def test_an_email_of_a_dead_run_is_made_of_the_settled_entries_that_name_it(file_ledger: FileLedger) -> None:
    file_ledger.collect("e1", [FILE, B], 600)
    settled = load_for(file_ledger, "e1")
    load_for(file_ledger, "another email", "v2")
    own(file_ledger, version("v3"), "c3", email_id="e1")
    found = file_ledger.reports_of(file_ledger.email("e1"))
    assert [settled.model_dump_json()] == [entry.model_dump_json() for entry in found]


def test_an_email_that_waits_is_about_the_versions_it_names(file_ledger: FileLedger) -> None:
    load_for(file_ledger, "another email")
    load_for(file_ledger, "e1", "v2")
    file_ledger.finish_collecting("e1", [report("v1"), report("", "incoming/missing.csv")], timedelta(0))
    assert ["v1"] == [entry.version for entry in file_ledger.reports_of(file_ledger.email("e1"))]


def test_a_run_that_was_taken_for_dead_reports_what_it_settled_since_in_an_email_of_its_own(
    file_ledger: FileLedger,
) -> None:
    file_ledger.collect("e1", [FILE, B], 0)
    file_ledger.finish_collecting("e1", [report()], timedelta(0))
    second = file_ledger.finish_collecting("e1", [report(), report("v2")], timedelta(0))
    assert "e1-more" == second
    assert [(FILE.key, "v2")] == versions(file_ledger.email("e1-more"))
    third = file_ledger.finish_collecting("e1", [report(), report("v2"), report("v3")], timedelta(0))
    assert "e1-more-more" == third
    assert [(FILE.key, "v3")] == versions(file_ledger.email("e1-more-more"))


def test_a_run_that_was_taken_for_dead_reports_nothing_twice(waiting: FileLedger) -> None:
    sent = claim(waiting)
    waiting.record_message(sent, GROUPS[0], "m1", "run-1")
    waiting.record_message(sent, GROUPS[1], "m2", "run-1")
    assert waiting.finish_collecting("e1", [report()], timedelta(0)) is None
    assert "sent" == waiting.email("e1").state


def test_a_run_is_taken_for_dead_at_the_moment_when_it_has_collected(
    file_ledger: FileLedger, dynamodb_line: Line
) -> None:
    file_ledger.collect("e1", [FILE], 0)
    with dynamodb_line.before("PutItem", lambda: file_ledger.finish_collecting("e1", [report()], timedelta(0))):
        assert "e1-more" == file_ledger.finish_collecting("e1", [report(), report("v2")], timedelta(0))
    assert ([(FILE.key, "v1")], [(FILE.key, "v2")]) == (
        versions(file_ledger.email("e1")),
        versions(file_ledger.email("e1-more")),
    )


def test_an_email_of_a_dead_run_that_is_claimed_waits_no_more_for_that_run(file_ledger: FileLedger) -> None:
    file_ledger.collect("e1", [FILE], 0)
    pass_time(file_ledger, 65)
    claimed = claim(file_ledger)
    assert ("waiting", [(FILE.key, "v1")]) == (claimed.email.state, versions(claimed.email))
    assert "e1-more" == file_ledger.finish_collecting("e1", [report(), report("v2")], timedelta(0))


def test_an_email_that_turns_out_to_be_about_nothing_is_not_claimed_and_not_due(file_ledger: FileLedger) -> None:
    file_ledger.collect("e1", [FILE], 0)
    pass_time(file_ledger, 65)
    assert file_ledger.claim_email("e1", "n1", [], GROUPS) is None
    assert ("sent", None, None) == ((email := file_ledger.email("e1")).state, email.claim_id, email.next_try_at)


# ---- Claimed and sent -----------------------------------------------------------------------------------------------


def test_an_email_is_claimed_before_it_is_sent(waiting: FileLedger) -> None:
    email = claim(waiting).email
    assert email == waiting.email("e1")
    assert ("n1", "waiting") == (email.claim_id, email.state)
    assert GROUPS == [list(group.recipients) for group in email.groups]
    assert 59 < seconds_until(waiting, email.lease_until) < 63


def test_a_second_run_does_not_send_what_another_is_sending(waiting: FileLedger) -> None:
    claimed = claim(waiting)
    before = waiting.email("e1")
    with pytest.raises(EmailClaimedElsewhereError, match="e1 is being sent by another run"):
        claim(waiting, "n2")
    assert before == waiting.email("e1")
    pass_time(waiting, 50)
    assert waiting.keep_email(claimed)
    pass_time(waiting, 50)
    with pytest.raises(EmailClaimedElsewhereError):
        claim(waiting, "n2")


def test_an_email_whose_run_died_is_taken_over_and_no_recipient_gets_it_twice(waiting: FileLedger) -> None:
    dead = claim(waiting)
    waiting.record_message(dead, GROUPS[0], "m1", "run-1")
    pass_time(waiting, 65)
    taken = claim(waiting, "n2")
    assert [("ada@example.com", "m1"), ("eve@example.com", None)] == [
        (group.recipients[0], group.message_id) for group in taken.email.groups
    ]
    waiting.record_message(taken, GROUPS[1], "m2", "run-2")
    email = waiting.email("e1")
    assert ("sent", "run-2", ["m1", "m2"]) == (
        email.state,
        email.flow_run_id,
        [each.message_id for each in email.groups],
    )
    assert email.sent_at
    assert waiting.claim_email("e1", "n3", [report()], GROUPS) is None
    pass_time(waiting, 10**6)
    assert [] == list(waiting.due_emails())


def test_recipients_that_a_person_has_changed_since_the_try_before(waiting: FileLedger) -> None:
    failed = claim(waiting)
    waiting.record_message(failed, GROUPS[0], "m1", "run-1")
    waiting.put_off_email(failed)
    corrected = waiting.claim_email("e1", "n2", [report()], [["ada@example.com", "bob@example.com", "eva@example.com"]])
    assert corrected
    assert ["m1", None] == [group.message_id for group in corrected.email.groups]
    assert ("eva@example.com",) == corrected.email.groups[1].recipients
    waiting.put_off_email(corrected)
    assert waiting.claim_email("e1", "n3", [report()], [["bob@example.com"]]) is None
    assert "sent" == waiting.email("e1").state


def test_a_run_that_was_taken_over_still_records_the_message_that_it_has_sent(waiting: FileLedger) -> None:
    slow = claim(waiting)
    pass_time(waiting, 65)
    taken = claim(waiting, "n2")
    waiting.record_message(slow, GROUPS[0], "m1", "run-1")
    waiting.record_message(taken, GROUPS[1], "m2", "run-2")
    assert ["m1", "m2"] == [group.message_id for group in taken.email.groups]
    assert "sent" == waiting.email("e1").state
    assert not waiting.keep_email(slow)
    assert not waiting.keep_email(taken)
    assert waiting.email("e1").next_try_at is None


def test_an_email_is_sent_only_when_all_recipients_got_it(waiting: FileLedger) -> None:
    claimed = claim(waiting)
    waiting.record_message(claimed, GROUPS[1], "m2", "run-1")
    assert ("waiting", "n1") == (claimed.email.state, claimed.email.claim_id)


def test_messages_whose_answer_was_lost_are_recorded_once(waiting: FileLedger, dynamodb_line: Line) -> None:
    with dynamodb_line.sent_twice("PutItem"):
        claimed = claim(waiting)
        waiting.record_message(claimed, GROUPS[0], "m1", "run-1")
    assert (4, ["m1", None]) == ((email := waiting.email("e1")).revision, [each.message_id for each in email.groups])


def test_two_runs_that_claim_an_email_at_the_same_moment(waiting: FileLedger, dynamodb_line: Line) -> None:
    with (
        dynamodb_line.before("PutItem", lambda: claim(waiting, "n1")),
        pytest.raises(EmailClaimedElsewhereError),
    ):
        claim(waiting, "n2")
    assert "n1" == waiting.email("e1").claim_id


def test_an_email_of_version_0_1_that_is_in_no_table_is_made_when_it_is_claimed(file_ledger: FileLedger) -> None:
    claimed = claim(file_ledger, email_id="0.1-run")
    assert ("waiting", [(FILE.key, "v1")]) == (claimed.email.state, versions(claimed.email))


# ---- Tried again ----------------------------------------------------------------------------------------------------


def test_an_email_that_failed_is_tried_again_after_a_pause_that_doubles_up_to_an_hour(waiting: FileLedger) -> None:
    pauses = []
    for number in range(9):
        claimed = claim(waiting, f"n{number}")
        waiting.put_off_email(claimed)
        email = waiting.email("e1")
        assert (None, number) == (email.claim_id, email.tries)
        pauses.append(round(seconds_until(waiting, email.next_try_at) / 30))
        assert waiting.take_up_email(email, counts=True)
    assert [1, 2, 4, 8, 16, 32, 64, 120, 120] == pauses


def test_an_email_that_another_run_has_claimed_since_is_not_put_off(waiting: FileLedger) -> None:
    failed = claim(waiting)
    pass_time(waiting, 65)
    claim(waiting, "n2")
    waiting.record_message(
        failed, GROUPS[0], "m1", "run-1"
    )  # what it knows of the email now is what the other run has written
    before = waiting.email("e1")
    waiting.put_off_email(failed)
    assert before == waiting.email("e1")


def test_a_sent_email_is_not_put_off(waiting: FileLedger) -> None:
    claimed = claim(waiting)
    stale = replace(claimed)
    waiting.record_message(claimed, GROUPS[0], "m1", "run-1")
    waiting.record_message(claimed, GROUPS[1], "m2", "run-1")
    waiting.put_off_email(stale)
    assert ("sent", None) == ((email := waiting.email("e1")).state, email.next_try_at)


@pytest.mark.parametrize(("counts", "pauses"), [(True, [30, 60, 120]), (False, [30, 30, 30])])
def test_an_overdue_email_is_put_off_by_who_takes_it_up(
    waiting: FileLedger, pauses: list[int], *, counts: bool
) -> None:
    found = []
    for _ in pauses:
        pass_time(waiting, 200)
        [email] = waiting.due_emails()
        taken = waiting.take_up_email(email, counts=counts)
        assert taken == waiting.email("e1")
        assert [] == list(waiting.due_emails())
        found.append(round(seconds_until(waiting, waiting.email("e1").next_try_at), -1))
    assert pauses == found


def test_of_two_that_see_an_overdue_email_one_takes_it_up(waiting: FileLedger, dynamodb_line: Line) -> None:
    pass_time(waiting, 65)
    [email] = waiting.due_emails()
    assert waiting.take_up_email(email, counts=True)
    assert waiting.take_up_email(email, counts=True) is None
    pass_time(waiting, 65)
    [email] = waiting.due_emails()
    with dynamodb_line.sent_twice("PutItem"):
        assert waiting.take_up_email(email, counts=True)


def test_an_overdue_email_that_a_run_has_claimed_since_is_not_taken_up(waiting: FileLedger) -> None:
    pass_time(waiting, 65)
    [email] = waiting.due_emails()
    claimed = claim(waiting)
    assert waiting.take_up_email(email, counts=True) is None
    assert claimed.email == waiting.email("e1")


def test_the_run_that_is_to_send_an_email_is_recorded(waiting: FileLedger) -> None:
    waiting.assign_run("e1", "run-9")
    assert "run-9" == waiting.email("e1").flow_run_id


def test_of_a_sent_email_the_run_that_has_sent_it_stays(waiting: FileLedger) -> None:
    claimed = claim(waiting)
    for group in GROUPS:
        waiting.record_message(claimed, group, "m", "run-1")
    waiting.assign_run("e1", "run-9")
    assert ("sent", "run-1") == ((email := waiting.email("e1")).state, email.flow_run_id)


# ---- Who was emailed about what -------------------------------------------------------------------------------------


def test_the_email_about_a_version_is_shown_with_it_once_it_was_sent(file_ledger: FileLedger) -> None:
    entry = load_for(file_ledger, "e1")
    other = load(file_ledger, B).entry
    file_ledger.finish_collecting("e1", [entry], timedelta(0))
    [shown, _] = file_ledger.with_emails([entry, other])
    assert shown.notified_at is None
    claimed = claim(file_ledger)
    file_ledger.record_message(claimed, GROUPS[0], "m1", "run-1")
    file_ledger.record_message(claimed, GROUPS[1], "m2", "run-1")
    left_out = load_for(file_ledger, "e1", "v2")  # it names the email, which was made without it
    shown, *not_shown = file_ledger.with_emails([entry, other, left_out])
    assert (file_ledger.email("e1").sent_at, "run-1") == (shown.notified_at, shown.notified_by)
    assert [(None, None)] * 2 == [(each.notified_at, each.notified_by) for each in not_shown]


def test_emails_are_read_by_their_ids(waiting: FileLedger) -> None:
    assert ["e1"] == list(waiting.emails(["e1", "never"]))
    assert {} == waiting.emails([])


def test_an_email_whose_run_lives_on_after_all_is_not_made_without_it(file_ledger: FileLedger) -> None:
    """It stood still; what was read before its renewal says nothing of what it settles since."""
    kept = file_ledger.collect("e1", [FILE], 0, "run-1")
    as_read = file_ledger.email("e1")
    pass_time(file_ledger, 2)
    assert file_ledger.keep_email(kept)
    assert not file_ledger.make_email(as_read, [])
    assert "collecting" == file_ledger.email("e1").state
    assert file_ledger.make_email(file_ledger.email("e1"), [report()])
    pass_time(file_ledger, 2)
    assert not file_ledger.keep_email(kept)
    assert ("waiting", [(FILE.key, "v1")]) == ((email := file_ledger.email("e1")).state, versions(email))
