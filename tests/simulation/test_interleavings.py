"""Interleavings that reviews of the code of ownership have found, each played once in simulated processes."""

# ruff: noqa: SLF001 - they reach between two calls of the product

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

import flows.notification.wait
from blocks.domain.models import FileReport, SensorFile
from blocks.file_ledger import FileLedger
from blocks.file_ledger.outbox import Outbox
from blocks.landing_zone import LandingZone
from blocks.runtime import runtime
from flows.loading.ingest_file import ingest_or_report
from flows.loading.large_files import LargeFiles
from flows.loading.lease import lease_kept
from flows.notification.collecting import EmailCollection
from flows.notify import notify
from flows.recovery.due_files import announce_expected
from tests.simulation.faults import Faults
from tests.simulation.network import _Attempt
from tests.simulation.played import KEY, ROWS, file, ingested, played
from tests.simulation.product import BUCKET, Product, _blocks
from tests.simulation.runtime import running_process


def collection(ledger: FileLedger) -> EmailCollection:
    """The email that a run collects for."""
    email = EmailCollection.__new__(EmailCollection)
    vars(email).update(_files=[file()], _wait_seconds=60.0, _earlier=[])
    vars(email)["_claimed"] = ledger.collect("e1", [file()], 60.0, "run-0")
    return email


def test_a_key_that_is_announced_encoded_again_is_not_due_for_ever() -> None:
    encoded = file("incoming/a+b.csv")

    def body(product: Product, ledger: FileLedger) -> None:
        product.drop("incoming/a b.csv", ROWS)
        announce_expected([encoded], ledger, lambda *_: None, "incoming/")
        assert ["archived"] == [each.status for each in ingested(encoded)]
        assert ledger.claim_of(BUCKET, encoded.key).next_try_at is None
        announce_expected([encoded], ledger, lambda *_: None, "incoming/")  # the event came twice
        assert [True] == [each.already_done for each in ingested(encoded)]
        assert ledger.claim_of(BUCKET, encoded.key).next_try_at is None

    played(body)


def test_a_run_that_finds_nothing_to_do_ends_the_claim_of_a_dead_run() -> None:
    def dies(product: Product, ledger: FileLedger) -> None:
        product.drop(KEY, ROWS)
        found = _blocks().landing_zone.describe(file())
        assert found
        owned: Any = ledger.claim(found, "c1", "dead")
        ledger.settle(owned.held, owned.entry.model_copy(update={"status": "failed"}))  # it cannot be moved: it stays

    def later(_: Product, ledger: FileLedger) -> None:
        for _number in range(3):
            runtime().sleep(100)
            announce_expected([file()], ledger, lambda *_: None, "incoming/")
            assert [True] == [each.already_done for each in ingested(file())]
        claim = ledger.claim_of(BUCKET, KEY)
        assert (None, None) == (claim.claim_id, claim.next_try_at)

    played(dies, later)


def test_an_email_that_ses_does_not_take_is_tried_again_after_pauses_that_double() -> None:
    pauses: list[float] = []

    def body(_: Product, ledger: FileLedger) -> None:
        report = FileReport(bucket=BUCKET, key=KEY, version="v1", status="archived")
        for number in range(5):
            claimed = ledger.claim_email("e1", f"c{number}", [report], [["a@example.com"]])
            assert claimed
            ledger.put_off_email(claimed)  # its run ends as Failed, after SES refused the message
            email = ledger.email("e1")
            assert email.next_try_at
            pause = (email.next_try_at - ledger._clock.latest()).total_seconds()
            pauses.append(round(pause))
            runtime().sleep(pause + 2)
            [due] = ledger.due_emails()
            assert ledger.take_up_email(due, counts=True)  # `_take_up` does this before it starts the next run

    played(body)
    assert [30, 60, 120, 240, 480] == pauses


def test_a_version_that_was_settled_without_an_answer_and_whose_lease_was_lost_then_is_in_the_email(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[FileReport] = []

    def body(product: Product, ledger: FileLedger) -> None:
        product.drop(KEY, ROWS)
        email = collection(ledger)
        settle = FileLedger.settle

        def without_answer(self: FileLedger, held: Any, entry: Any, **named: Any) -> None:  # noqa: ANN401
            monkeypatch.setattr(FileLedger, "settle", settle)
            settle(self, held, entry, **named)
            # No answer: botocore waits for one, and the worker has no network. Meanwhile the lease of the key ends, a
            # newer version comes, and another run loads it. The email's lease ends a few seconds later than the key's.
            product.drop(KEY, "sensor-1,1,b")
            found = _blocks().landing_zone.describe(file())
            assert found
            ledger.change(BUCKET, KEY, lambda claim: claim.freed(ledger._clock.latest()))
            ledger.claim(found, "c2", "other", email_id="e2")
            raise EndpointConnectionError(endpoint_url="https://dynamodb")

        monkeypatch.setattr(FileLedger, "settle", without_answer)
        reports = ingest_or_report(file(), LargeFiles(), email)
        told.extend(each for each in email.completed(reports) if not each.already_done)
        [first] = [each for each in ledger.entries_of(BUCKET, KEY) if each.epoch == 1]
        assert ("archived", "e1") == (first.status, first.email_id)
        assert first.version in [each.version for each in told], told

    played(body)


def test_an_email_after_one_that_was_made_meanwhile_has_no_report_of_that_one(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, list[str]]] = []

    def body(_: Product, ledger: FileLedger) -> None:
        first, second = (
            FileReport(bucket=BUCKET, key=f"incoming/{n}.csv", version="v", status="archived") for n in "ab"
        )
        email = collection(ledger)
        uncovered = email.uncovered

        def meanwhile(reports: Any) -> Any:  # noqa: ANN401
            result = uncovered(reports)
            assert ledger.make_email(ledger.email("e1"), [first])  # the run stands still here for more than its lease
            return result

        monkeypatch.setattr(email, "uncovered", meanwhile)
        with monkeypatch.context() as patch:  # it ends before that of the simulation
            patch.setattr(
                flows.notification.wait,
                "send_later",
                lambda reports, _wait, _notify, email_id: sent.append((email_id, [each.key for each in reports])),
            )
            flows.notification.wait.notify_later([first, second], 60.0, None, email)  # type: ignore[arg-type]

    played(body)
    assert [("e1-more", ["incoming/b.csv"])] == sent


def test_a_version_that_came_back_while_it_was_closed_is_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def body(product: Product, ledger: FileLedger) -> None:
        product.drop(KEY, ROWS)
        found = _blocks().landing_zone.describe(file())
        assert found
        owned: Any = ledger.claim(found, "c1", "first")
        ledger.release(owned.held, owned.entry, "no")  # a load that failed; the file waits
        _blocks().landing_zone.remove(found)  # its sender deletes it
        close = Outbox.close

        def meanwhile(self: Outbox, *args: Any) -> Any:  # noqa: ANN401
            marker = product.bucket.versions[KEY][-1]
            product.bucket.remove(KEY, marker.version_id or "")  # and restores it
            return close(self, *args)

        monkeypatch.setattr(Outbox, "close", meanwhile)
        reports = ingested(file())
        assert ["archived"] == [each.status for each in reports], reports

    played(body)


def test_a_look_that_fails_after_a_reload_sends_no_email(monkeypatch: pytest.MonkeyPatch) -> None:
    def body(product: Product, ledger: FileLedger) -> None:
        product.drop(KEY, ROWS)
        assert ["archived"] == [each.status for each in ingested(file())]
        ledger.change(BUCKET, KEY, lambda claim: claim.overtaken(0, "v0", ledger._clock.latest()))
        runtime().sleep(3)
        describe, reloads = LandingZone.describe, list[str]()
        claim_reload = FileLedger.claim_reload

        def reloaded(self: FileLedger, *args: Any) -> Any:  # noqa: ANN401
            result = claim_reload(self, *args)
            reloads.append(str(result))
            return result

        def out_of_order(self: LandingZone, found: SensorFile) -> Any:  # noqa: ANN401
            if reloads and found.key == KEY:  # S3 has an outage after the rows were written again
                raise EndpointConnectionError(endpoint_url="https://s3")
            return describe(self, found)

        monkeypatch.setattr(LandingZone, "describe", out_of_order)
        monkeypatch.setattr(FileLedger, "claim_reload", reloaded)
        email = collection(ledger)
        reports = email.completed(ingest_or_report(file(), LargeFiles(), email))
        assert ledger.claim_of(BUCKET, KEY).reload_tries == 0
        assert [] == [(each.status, each.problem) for each in reports if not each.already_done]

    played(body)


def test_an_outage_of_s3_sends_no_email_that_a_file_failed_that_was_loaded_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def body(product: Product, ledger: FileLedger) -> None:
        product.drop(KEY, ROWS)
        assert ["archived"] == [each.status for each in ingested(file())]

        def away(*_: object) -> None:
            raise EndpointConnectionError(endpoint_url="https://s3")

        monkeypatch.setattr(LandingZone, "describe", away)
        email = collection(ledger)
        # The key is due, as the run died before it ended its claim; or the event came twice.
        reports = email.completed(ingest_or_report(file(), LargeFiles(), email))
        assert [] == [(each.status, each.problem) for each in reports if not each.already_done]

    played(body)


def test_renewals_that_get_no_answer_do_not_cost_the_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two renewals may fail before another run can take over, also if no connection is reset."""
    left: list[float] = []

    def body(product: Product, ledger: FileLedger) -> None:
        product.drop(KEY, ROWS)
        found = _blocks().landing_zone.describe(file())
        assert found
        owned: Any = ledger.claim(found, "c1", "run-0")
        faults = iter(["answer lost"])

        def timed_out(attempt: _Attempt) -> None:  # as when a NAT forgets the connection
            attempt.answered = False
            error = ReadTimeoutError(endpoint_url="dynamodb")
            product.world.scheduler.later(attempt.settings.read_timeout, attempt._end_without_answer, error)

        with monkeypatch.context() as patch, lease_kept(ledger, owned.held, owned.entry) as lease:
            runtime().sleep(19)
            patch.setattr(Faults, "of_call", lambda *_: next(faults, None))
            patch.setattr(_Attempt, "_fail", timed_out)
            running_process().faults = True
            for _ in range(50):
                runtime().sleep(1)
                left.append(ledger.claim_seconds - (runtime().monotonic() - lease.held.asked_at))

    played(body)
    assert min(left) > 5, [round(each) for each in left]


def test_a_run_sends_a_message_once_while_ses_does_not_say_whether_it_has_taken_it() -> None:
    mails: list[int] = []

    def body(product: Product, _: FileLedger) -> None:
        product.world.network.outages["sesv2"] = (0, 10_000)  # every other request is done, and answered with a 500
        running_process().faults = True
        report = FileReport(bucket=BUCKET, key=KEY, version="v1", status="archived")
        with suppress(ClientError):
            notify.fn([report], 0, "e1")
        mails.extend(Counter(mail.recipients for mail in product.world.ses.mails).values())

    played(body)
    assert mails in ([], [1] * len(mails)), mails


def test_rows_of_a_reload_that_arrive_after_those_of_a_newer_version_are_written_over_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Random seeds do not find it: the last reload, a send of it that arrives late, and a newer version meanwhile."""

    def body(product: Product, ledger: FileLedger) -> None:
        product.drop(KEY, "sensor-1,1,older")
        ingested(file())
        ledger.change(BUCKET, KEY, lambda claim: claim.overtaken(0, "v0", ledger._clock.latest()))
        runtime().sleep(3)
        ingested(file())  # the first reload, as older rows may have come; when all have, there is another one
        _sleep_until_due(ledger)
        with _first_send_late(monkeypatch):
            ingested(file())
        _a_newer_version_is_written_again(product, ledger)

    played(body)


def test_rows_of_a_failed_load_that_arrive_after_those_of_a_newer_version_are_written_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Random seeds do not find it: a load fails after a send that arrives late, and a newer version comes meanwhile."""

    def away(*_: object) -> None:
        raise EndpointConnectionError(endpoint_url="https://s3")

    def body(product: Product, ledger: FileLedger) -> None:
        product.drop(KEY, "sensor-1,1,older")
        with _first_send_late(monkeypatch), monkeypatch.context() as patch:
            patch.setattr(LandingZone, "store_copy", away)
            with pytest.raises(EndpointConnectionError):
                ingested(file())
        _a_newer_version_is_written_again(product, ledger)

    played(body)


@contextmanager
def _first_send_late(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The first rows that are sent in this block get no answer, and arrive after 100 s."""
    late, made = ["request late"], _Attempt.made

    def made_late(attempt: _Attempt) -> Any:  # noqa: ANN401 - the answer of any service
        if attempt.service.name == "readings" and late:
            with monkeypatch.context() as patch:
                patch.setattr(Faults, "of_call", lambda *_: late.pop() if late else None)
                return made(attempt)
        return made(attempt)

    running_process().faults = True
    with monkeypatch.context() as patch:
        patch.setattr(_Attempt, "made", made_late)
        patch.setattr(_Attempt, "_lateness", lambda _: 100.0)
        yield


def _a_newer_version_is_written_again(product: Product, ledger: FileLedger) -> None:
    """It is loaded, then rows of the older one arrive, and it is loaded once more."""
    product.drop(KEY, "sensor-1,1,newer")
    assert ingested(file())[-1].status == "archived"
    assert ["newer"] == list(product.world.readings.rows.values())
    runtime().sleep(100)
    assert ["older"] == list(product.world.readings.rows.values()), "the send has arrived now"
    _sleep_until_due(ledger)
    ingested(file())
    assert ["newer"] == list(product.world.readings.rows.values())


def _sleep_until_due(ledger: FileLedger) -> None:
    next_look = ledger.claim_of(BUCKET, KEY).next_try_at
    assert next_look is not None
    runtime().sleep((next_look - ledger._clock.earliest()).total_seconds() + 5)
