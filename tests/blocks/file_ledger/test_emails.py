"""The record of an email: each change of it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from blocks.file_ledger.emails import OVERDUE_AFTER, Group, OutboxEmail, email_attributes, to_email
from blocks.file_ledger.table import from_item, to_item

NOW = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)
FILES = [("landing", "incoming/é.csv", "v1"), ("landing", "incoming/b.csv", "")]
NEW = OutboxEmail("e1", revision=3)
GROUPS = [["ada@example.com", "bob@example.com"], ["eve@example.com"]]
ADA_AND_BOB, EVE = (Group(tuple(each)) for each in GROUPS)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


LEASED = NEW.leased("c1", after(60))
WAITING = LEASED.collected(FILES, after(600))
SENDING = WAITING.with_groups(GROUPS).leased("c2", after(660))


def test_an_email_that_a_run_has_is_looked_at_when_its_lease_ends() -> None:
    assert ("c1", after(60), after(60)) == (LEASED.claim_id, LEASED.lease_until, LEASED.next_try_at)


@pytest.mark.parametrize(
    ("email", "claim_id", "now", "expected"),
    [
        (LEASED, "c2", after(59), True),
        (LEASED, "c2", after(60), False),
        (LEASED, "c1", after(59), False),
        (NEW, "c2", NOW, False),
        (WAITING, "c2", NOW, False),
    ],
)
def test_an_email_is_another_runs_until_its_lease_ends(
    email: OutboxEmail, claim_id: str, now: datetime, *, expected: bool
) -> None:
    assert expected == email.is_claimed_by_another(claim_id, now)


def test_a_collected_email_waits_until_it_is_due_and_is_overdue_a_little_later() -> None:
    assert WAITING == replace(
        NEW, state="waiting", files=tuple(FILES), due_at=after(600), next_try_at=after(600) + OVERDUE_AFTER
    )


def test_an_email_about_nothing_is_never_sent() -> None:
    assert LEASED.collected([], after(600)) == replace(NEW, state="sent")


def test_recipients_are_those_of_now_but_for_those_who_have_it() -> None:
    assert (ADA_AND_BOB, EVE) == SENDING.groups
    assert SENDING.with_groups(GROUPS) == SENDING
    assert (Group(("mallory@example.com",)),) == SENDING.with_groups([["mallory@example.com"]]).groups
    again = SENDING.with_message(EVE.recipients, "m2").with_groups([["eve@example.com", "mallory@example.com"]])
    assert (replace(EVE, message_id="m2"), Group(("mallory@example.com",))) == again.groups


def test_the_message_of_a_group_is_recorded_for_that_group_only() -> None:
    assert (replace(EVE, message_id="m2"), ADA_AND_BOB) == SENDING.with_message(EVE.recipients, "m2").groups


def test_a_message_is_recorded_also_if_the_recipients_are_grouped_anew_since() -> None:
    regrouped = SENDING.with_groups([["eve@example.com", "ada@example.com"]])
    recorded = regrouped.with_message(ADA_AND_BOB.recipients, "m1")
    assert (replace(ADA_AND_BOB, message_id="m1"), EVE) == recorded.groups
    assert not recorded.has_all_messages
    assert recorded == recorded.with_message(ADA_AND_BOB.recipients, "m1")
    assert recorded.with_message(EVE.recipients, "m2").has_all_messages


def test_a_sent_email_is_looked_at_no_more() -> None:
    sent = SENDING.sent(after(610), "run-1")
    assert ("sent", after(610), "run-1", None, None, None) == (
        sent.state,
        sent.sent_at,
        sent.flow_run_id,
        sent.claim_id,
        sent.lease_until,
        sent.next_try_at,
    )


def test_an_email_that_was_put_off_is_free() -> None:
    off = SENDING.put_off(after(700)).put_off(after(800))
    assert (None, None, 0, after(800)) == (off.claim_id, off.lease_until, off.tries, off.next_try_at)


def test_a_sent_email_is_not_put_off() -> None:
    sent = SENDING.sent(NOW, "run-1")
    assert sent.put_off(after(9)) == sent


EMAILS = [
    NEW,
    LEASED,
    WAITING,
    SENDING,
    SENDING.with_message(GROUPS[1], "m2"),
    SENDING.sent(NOW, "r"),
    SENDING.put_off(NOW),
]


@pytest.mark.parametrize("email", EMAILS)
def test_an_email_survives_the_way_through_the_table(email: OutboxEmail) -> None:
    assert email == to_email("e1", from_item(to_item(email_attributes(email))))


@pytest.mark.parametrize("email", EMAILS)
def test_an_email_is_in_the_index_by_due_time_while_it_is_due(email: OutboxEmail) -> None:
    attributes = email_attributes(email)
    assert ("#email/e1", "#email") == (attributes["file"], attributes["version"])
    assert (attributes.get("waits_for") == "email") == (email.next_try_at is not None)


def test_without_an_item_the_email_is_new() -> None:
    assert OutboxEmail("e1") == to_email("e1", None) == to_email("e1", {})


def test_a_wait_may_have_a_fraction() -> None:
    email = replace(NEW, wait_seconds=0.25)
    assert email == to_email("e1", from_item(to_item(email_attributes(email))))


@pytest.mark.parametrize(
    "change",
    [
        lambda email: email.leased("c9", after(9)),
        lambda email: email.collected(FILES, after(9)),
        lambda email: email.put_off(after(9)),
        lambda email: email.with_groups(GROUPS).leased("c9", after(9)).with_message(GROUPS[0], "m1"),
    ],
)
def test_an_email_that_is_not_sent_is_always_due_at_some_time(change: Callable[[OutboxEmail], OutboxEmail]) -> None:
    for email in (LEASED, WAITING, SENDING):
        changed = change(email)
        assert (changed.next_try_at is None) == (changed.state == "sent")
