"""Everybody is told once: a message that fails is tried again alone, and keeps none of the others from going out."""

from collections.abc import Callable, Sequence

import pytest
from botocore.exceptions import ClientError

from blocks.domain.errors import AddressUnverifiedError
from blocks.domain.models import FileReport
from blocks.mailer import Mailer
from blocks.saved_blocks import load_blocks
from flows import notify as notifying
from flows.notification.email import Email, compose_email
from flows.notify import notify
from tests.blocks.ledger_entries import FILE, finished
from tests.support.world import World

GROUPS = [["ada@example.com"], ["bob@example.com"], ["eve@example.com"]]
TOO_FAST = ClientError({"Error": {"Code": "TooManyRequestsException", "Message": "rate"}}, "SendEmail")

Answer = Callable[[list[str], list[str]], None]


@pytest.fixture
def told(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer], list[str]]:  # noqa: ARG001 - its blocks
    """Who SES is asked to tell, in order, if it takes each message unless the answer raises an error."""

    def ask(answer: Answer) -> list[str]:
        asked: list[str] = []

        def send(_self: Mailer, *_: object, recipients: Sequence[str]) -> str:
            asked.extend(recipients)
            answer(asked, list(recipients))
            return f"id of {recipients[0]}"

        monkeypatch.setattr(Mailer, "groups", lambda _self: GROUPS)
        monkeypatch.setattr(Mailer, "send", send)
        monkeypatch.setattr(notifying.send_email, "retry_delay_seconds", 0)
        return asked

    return ask


@pytest.fixture
def about(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The names of the files that each email was about."""
    seen: list[list[str]] = []

    def noted(news: list[FileReport], pages: list[tuple[str, str]]) -> Email:
        seen.append([file.name for file in news])
        return compose_email(news, pages)

    monkeypatch.setattr(notifying, "compose_email", noted)
    return seen


FILES = [FileReport(bucket="landing", key="incoming/a.csv", status="failed")]


def test_a_message_that_fails_is_tried_again_alone(told: Callable[[Answer], list[str]]) -> None:
    def second_fails_once(asked: list[str], recipients: list[str]) -> None:
        if recipients == GROUPS[1] and asked.count("bob@example.com") == 1:
            raise TOO_FAST

    asked = told(second_fails_once)
    assert "id of ada@example.com, id of bob@example.com, id of eve@example.com" == notify(FILES)
    assert ["ada@example.com", "bob@example.com", "bob@example.com", "eve@example.com"] == asked


def test_a_message_that_ses_will_never_take_is_not_tried_again_and_the_others_go_out(
    told: Callable[[Answer], list[str]],
) -> None:
    def second_is_refused(_asked: list[str], recipients: list[str]) -> None:
        if recipients == GROUPS[1]:
            raise AddressUnverifiedError("sensors@example.com", "not verified: bob@example.com")

    ledger = load_blocks().file_ledger
    loaded = finished(ledger.claim(FILE.model_copy(update={"key": "incoming/told-in-part.csv"}), "a run"), "archived")
    ledger.record(loaded)
    asked = told(second_is_refused)
    with pytest.raises(AddressUnverifiedError, match=r"bob@example\.com"):
        notify([loaded])
    assert ["ada@example.com", "bob@example.com", "eve@example.com"] == asked
    assert ledger.notifying_run(loaded), "the next sweep would mail those again who have it"


def test_what_ses_takes_for_nobody_is_noted_as_told_to_nobody(told: Callable[[Answer], list[str]]) -> None:
    def all_are_refused(_asked: list[str], recipients: list[str]) -> None:
        raise AddressUnverifiedError("sensors@example.com", f"not verified: {recipients}")

    ledger = load_blocks().file_ledger
    loaded = finished(ledger.claim(FILE.model_copy(update={"key": "incoming/told-to-nobody.csv"}), "a run"), "archived")
    ledger.record(loaded)
    told(all_are_refused)
    with pytest.raises(AddressUnverifiedError):
        notify([loaded])
    assert ledger.notifying_run(loaded) is None


def test_a_run_that_is_begun_again_after_its_email_went_out_sends_no_other(told: Callable[[Answer], list[str]]) -> None:
    ledger = load_blocks().file_ledger
    loaded = finished(ledger.claim(FILE.model_copy(update={"key": "incoming/told-before.csv"}), "a run"), "archived")
    ledger.record(loaded)
    asked = told(lambda *_: None)
    assert notify([loaded]).startswith("id of ada@example.com")
    assert len(GROUPS) == len(asked)
    assert notify([loaded]) == "sent before"
    assert len(GROUPS) == len(asked)


def test_a_failed_file_among_them_does_not_hide_that_others_were_told_of(
    told: Callable[[Answer], list[str]], about: list[list[str]]
) -> None:
    ledger = load_blocks().file_ledger
    loaded = finished(ledger.claim(FILE.model_copy(update={"key": "incoming/beside.csv"}), "a run"), "archived")
    ledger.record(loaded)
    failed = FileReport(bucket="landing", key="incoming/failed.csv", version="v1", status="failed")
    told(lambda *_: None)
    notify([failed, loaded])
    notify([failed, loaded])
    assert [["failed.csv", "beside.csv"], ["failed.csv"]] == about


def test_files_that_another_run_told_of_are_left_out_and_the_others_are_told_of(
    told: Callable[[Answer], list[str]], about: list[list[str]]
) -> None:
    ledger = load_blocks().file_ledger
    files: list[FileReport] = []
    for name in ("first", "second"):
        entry = ledger.claim(FILE.model_copy(update={"key": f"incoming/{name}.csv"}), "a run")
        loaded = finished(entry, "archived")
        ledger.record(loaded)
        files.append(loaded)
    ledger.mark_notified(files[0], by="a sweep's email")
    asked = told(lambda *_: None)
    notify(files)
    assert [["second.csv"]] == about
    assert len(GROUPS) == len(asked)
    assert ledger.notifying_run(files[1]) is not None
