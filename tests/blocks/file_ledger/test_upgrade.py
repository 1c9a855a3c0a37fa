"""What version 0.1 left in the table."""

from datetime import UTC, datetime, timedelta

from blocks.file_ledger import FileLedger
from blocks.file_ledger.emails import OutboxEmail
from blocks.runtime import Runtime, installed
from tests.blocks.conftest import Line
from tests.blocks.ledger_entries import FILE, own, pass_time, put_raw, statuses

NOW = datetime.now(UTC)


def put_old(ledger: FileLedger, key: str, status: str, days: int = 0, **more: object) -> None:
    """An entry as version 0.1 wrote it."""
    claimed_at = NOW - timedelta(days=days)
    attributes = {
        "file": f"landing/{key}",
        "version": "v1",
        "bucket": "landing",
        "key": key,
        "status": status,
        "month": f"{claimed_at:%Y-%m}",
        "claimed_at": claimed_at.isoformat(timespec="milliseconds"),
        "unfinished": "yes",
        "attempts": 1,
        "tries": 1,
        **more,
    }
    put_raw(ledger, **{name: value for name, value in attributes.items() if value is not None})


def taken_over(ledger: FileLedger) -> tuple[int, list[OutboxEmail]]:
    """The number of files, and the emails about them."""
    count = ledger.take_over()
    return count, list(ledger.due_emails())


def test_files_without_an_email_get_one_that_is_due_now(file_ledger: FileLedger) -> None:
    put_old(file_ledger, "a.csv", "archived", days=33)
    put_old(file_ledger, "b.csv", "refused")
    put_old(file_ledger, "emailed.csv", "archived", unfinished=None)
    put_old(file_ledger, "loading.csv", "loading", in_hand="yes", lease_until="2099-01-01T00:00:00.000+00:00")
    put_old(file_ledger, "loaded.csv", "loaded")
    put_old(file_ledger, "long-ago.csv", "archived", days=200)
    put_old(file_ledger, "odd.csv", "quarantined")
    count, [email] = taken_over(file_ledger)
    assert (2, "waiting", ["b.csv", "a.csv"]) == (count, email.state, [key for _, key, _ in email.files])
    assert ["a.csv", "b.csv"] == sorted(entry.key for entry in file_ledger.reports_of(email))


def test_a_table_is_taken_over_once(file_ledger: FileLedger) -> None:
    put_old(file_ledger, "a.csv", "archived")
    assert 1 == file_ledger.take_over()
    put_old(file_ledger, "b.csv", "archived")
    count, emails = taken_over(file_ledger)
    assert (0, 1) == (count, len(emails))


def test_a_new_table_has_nothing_to_take_over(file_ledger: FileLedger) -> None:
    own(file_ledger)
    assert (0, []) == taken_over(file_ledger)
    assert {"v1": "loading"} == statuses(file_ledger)


def test_two_that_take_over_at_once_make_one_email_of_which_the_lease_stays(
    file_ledger: FileLedger, dynamodb_line: Line
) -> None:
    put_old(file_ledger, "a.csv", "archived")

    def take_over_and_send() -> None:
        assert 1 == file_ledger.take_over()
        [email] = file_ledger.due_emails()
        assert file_ledger.claim_email(email.email_id, "n1", [], [["ada@example.com"]])

    with dynamodb_line.before("PutItem", take_over_and_send):
        assert 1 == file_ledger.take_over()
    pass_time(file_ledger, 65)
    [email] = file_ledger.due_emails()
    assert "n1" == email.claim_id


def test_many_files_get_several_emails_each_of_which_fits_into_an_item(file_ledger: FileLedger) -> None:
    longest = "é" * 510
    for number in range(260):
        put_old(file_ledger, f"{number:03}{longest}", "archived")
    count, emails = taken_over(file_ledger)
    assert 260 == count
    assert [10, 250] == sorted(len(email.files) for email in emails)
    assert 260 == len({key for email in emails for _, key, _ in email.files})


def test_the_months_are_those_of_utc_wherever_the_worker_is(file_ledger: FileLedger) -> None:
    class NextMonth(Runtime):
        def utc_now(self) -> datetime:
            return NOW + timedelta(days=31)

    put_old(file_ledger, "a.csv", "archived")
    with installed(NextMonth()):
        assert 1 == file_ledger.take_over()


def test_what_version_0_1_was_loading_is_claimed_like_any_other_file(file_ledger: FileLedger) -> None:
    put_old(file_ledger, FILE.key, "loading", in_hand="yes", lease_until="2099-01-01T00:00:00.000+00:00")
    assert (2, "loading") == ((entry := own(file_ledger).entry).tries, entry.status)


def test_an_entry_of_version_0_1_is_taken_over(file_ledger: FileLedger) -> None:
    lease_until = "2099-11-22T20:00:00.000+00:00"
    put_old(file_ledger, FILE.key, "loaded", attempts=2, tries=2, in_hand="yes", lease_until=lease_until)
    owned = own(file_ledger)
    assert ("loading", 3, 3) == (owned.entry.status, owned.entry.attempts, owned.entry.tries)
