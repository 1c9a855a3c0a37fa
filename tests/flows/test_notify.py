"""Each recipient gets an email once: a message that fails is tried again alone, and keeps none of the others back."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError
from prefect.runtime import flow_run

from blocks.domain.errors import AddressUnverifiedError
from blocks.domain.models import FileReport
from blocks.file_ledger import FileLedger
from blocks.file_ledger.outbox import ClaimedEmail
from blocks.mailer import Mailer
from blocks.saved_blocks import load_blocks
from flows import notify as notifying
from flows.notify import notify
from tests.support.world import World

GROUPS = [["ada@example.com"], ["bob@example.com"], ["eve@example.com"]]
TOO_FAST = ClientError({"Error": {"Code": "TooManyRequestsException", "Message": "rate"}}, "SendEmail")
SES_FAILS = ClientError(
    {"Error": {"Code": "InternalServiceError", "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": 500}},  # type: ignore[typeddict-item] # what counts
    "SendEmail",
)
NOT_REACHED = EndpointConnectionError(endpoint_url="ses")
FILES = [FileReport(bucket="landing", key="incoming/a.csv", version="v1", status="archived")]

Answer = Callable[[list[str], list[str]], None]


@pytest.fixture
def asked_of(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer], list[str]]:  # noqa: ARG001 - its blocks
    """The recipients that SES is asked to mail to, in order, if it takes each message unless the answer raises."""

    def ask(answer: Answer) -> list[str]:
        asked: list[str] = []

        def send(_self: Mailer, *_: object, recipients: Sequence[str]) -> str:
            asked.extend(recipients)
            answer(asked, list(recipients))
            return f"id of {recipients[0]}"

        monkeypatch.setattr(Mailer, "groups", lambda _self: GROUPS)
        monkeypatch.setattr(Mailer, "send", send)
        monkeypatch.setattr(notifying.send_message, "retry_delay_seconds", 0)
        return asked

    return ask


def waiting_email(email_id: str) -> str:
    """An email of the outbox that is due."""
    assert load_blocks().file_ledger.finish_collecting(email_id, FILES, timedelta()) == email_id
    return email_id


def test_the_claim_of_an_email_says_which_run_sends_it(asked_of: Callable[[Answer], list[str]]) -> None:
    """If the run dies, the relay ends this very run, and no other that is to send the email."""
    email_id, claimed_by = waiting_email("claimed-by-its-run"), list[bool]()

    def look(*_: object) -> None:
        claimed_by.append(load_blocks().file_ledger.email(email_id).is_claimed_by(str(flow_run.id)))

    asked_of(look)
    notify(FILES, 0, email_id)
    assert [True] * len(GROUPS) == claimed_by


@pytest.mark.parametrize("error", [TOO_FAST, NOT_REACHED], ids=["too fast", "not reached"])
def test_a_message_that_ses_has_not_taken_is_tried_again_alone(
    asked_of: Callable[[Answer], list[str]], error: Exception
) -> None:
    def second_fails_once(asked: list[str], recipients: list[str]) -> None:
        if recipients == GROUPS[1] and asked.count("bob@example.com") == 1:
            raise error

    asked = asked_of(second_fails_once)
    email_id = waiting_email(f"tried-again-{type(error).__name__}")
    assert notify(FILES, 0, email_id) == "id of ada@example.com, id of bob@example.com, id of eve@example.com"
    assert asked == ["ada@example.com", "bob@example.com", "bob@example.com", "eve@example.com"]
    assert load_blocks().file_ledger.email(email_id).state == "sent"


@pytest.mark.parametrize("error", [SES_FAILS, ReadTimeoutError(endpoint_url="ses")], ids=["500", "no answer"])
def test_a_message_that_ses_may_have_taken_is_left_to_a_later_run(
    asked_of: Callable[[Answer], list[str]], error: Exception
) -> None:
    failing = [error]

    def fails_once(_asked: list[str], recipients: list[str]) -> None:
        if recipients == GROUPS[1] and failing:
            raise failing.pop()

    asked = asked_of(fails_once)
    email_id = waiting_email(f"may-be-taken-{type(error).__name__}")
    with pytest.raises(type(error)):
        notify(FILES, 0, email_id)
    assert asked == ["ada@example.com", "bob@example.com", "eve@example.com"]
    assert load_blocks().file_ledger.email(email_id).next_try_at
    notify(FILES, 0, email_id)
    assert asked[3:] == ["bob@example.com"]


def test_an_email_that_was_claimed_although_no_answer_said_so_is_sent_by_the_same_run(
    asked_of: Callable[[Answer], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    claim, lost = FileLedger.claim_email, [NOT_REACHED]

    def without_answer(*args: Any) -> ClaimedEmail | None:  # noqa: ANN401 - passed on
        claimed = claim(*args)
        if lost:
            raise lost.pop()
        return claimed

    asked = asked_of(lambda *_: None)
    monkeypatch.setattr(notifying.claim_email, "retry_delay_seconds", 0)
    monkeypatch.setattr(FileLedger, "claim_email", without_answer)
    notify(FILES, 0, waiting_email("claimed-unawares"))
    assert len(asked) == len(GROUPS)


def test_a_message_that_ses_refuses_leaves_the_others_sent_and_is_tried_again_alone_by_the_next_run(
    asked_of: Callable[[Answer], list[str]],
) -> None:
    refused: list[str] = ["bob@example.com"]

    def refuses(_asked: list[str], recipients: list[str]) -> None:
        if recipients == refused:
            raise AddressUnverifiedError("sensors@example.com", "not verified: bob@example.com")

    asked = asked_of(refuses)
    email_id = waiting_email("refused-in-part")
    with pytest.raises(AddressUnverifiedError, match=r"bob@example\.com"):
        notify(FILES, 0, email_id)
    assert asked == ["ada@example.com", "bob@example.com", "eve@example.com"]
    email = load_blocks().file_ledger.email(email_id)
    assert (email.state, email.claim_id) == ("waiting", None)
    assert email.next_try_at
    refused.clear()
    notify(FILES, 0, email_id)
    assert asked[3:] == ["bob@example.com"]


def test_an_email_that_was_sent_is_not_sent_again(asked_of: Callable[[Answer], list[str]]) -> None:
    asked = asked_of(lambda *_: None)
    email_id = waiting_email("sent-before")
    assert notify(FILES, 0, email_id).startswith("id of ada@example.com")
    assert notify(FILES, 0, email_id) == "sent before"
    assert len(asked) == len(GROUPS)


def test_an_email_that_another_run_is_sending_is_left_to_it(asked_of: Callable[[Answer], list[str]]) -> None:
    asked = asked_of(lambda *_: None)
    email_id = waiting_email("elsewhere")
    assert load_blocks().file_ledger.claim_email(email_id, "another run", FILES, GROUPS)
    assert "being sent by another run" in notify(FILES, 0, email_id)
    assert asked == []


def test_a_run_that_version_0_1_created_sends_its_email_once(asked_of: Callable[[Answer], list[str]]) -> None:
    asked = asked_of(lambda *_: None)
    assert notify(FILES).startswith("id of ada@example.com")
    assert len(asked) == len(GROUPS)
