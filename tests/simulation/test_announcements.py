"""No run hides an announcement: a version that comes at any moment is due, whenever the run that looks then dies."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

import blocks.landing_zone
from blocks.domain.models import SETTLED, StoredFile
from blocks.file_ledger import FileLedger
from blocks.file_ledger.claiming import Owned
from blocks.runtime import runtime
from tests.simulation.network import _Attempt
from tests.simulation.played import KEY, ROWS, file, ingested, played
from tests.simulation.processes import running_thread
from tests.simulation.product import BUCKET, Product, _blocks
from tests.simulation.runtime import running_process

RELAY = timedelta(seconds=90)


@dataclass
class Key:
    """A key and what was done to it before the run looks at it."""

    product: Product
    ledger: FileLedger
    patch: pytest.MonkeyPatch
    held: list[tuple[StoredFile, Owned]] = field(default_factory=list)
    """The version that another run loads, and its claim."""

    def drop(self) -> None:
        self.product.drop(KEY, ROWS)

    def claim(self) -> tuple[StoredFile, Owned]:
        self.drop()
        found = _blocks().landing_zone.describe(file())
        assert found
        owned = self.ledger.claim(found, "c1", "another run")
        assert isinstance(owned, Owned)
        return found, owned

    def settle(self, found: StoredFile, owned: Owned) -> None:
        archived_to = _blocks().landing_zone.store_copy(found, "archived")
        update = {"status": "archived", "archived_to": archived_to}
        self.ledger.settle(owned.held, owned.entry.model_copy(update=update))

    def announce(self) -> None:
        """A version lands, and the relay announces the key; the announced run never comes."""
        for found, owned in self.held:
            self.settle(found, owned)
            _blocks().landing_zone.remove(found)
        self.drop()
        self.ledger.expect([file()], RELAY)


def landed(key: Key) -> None:
    key.drop()


def archived(key: Key) -> None:
    key.drop()
    ingested(file())


def settled_and_not_moved(key: Key) -> None:
    found, owned = key.claim()
    key.settle(found, owned)
    key.ledger.end_claim(owned.held)


def replaced_by_one_that_waits(key: Key) -> None:
    _, owned = key.claim()
    key.ledger.release(owned.held, owned.entry, "a problem")


def deleted_while_it_waits(key: Key) -> None:
    replaced_by_one_that_waits(key)
    _blocks().landing_zone.remove(file())


def reload_due(key: Key) -> None:
    archived(key)
    key.ledger.change(BUCKET, KEY, lambda claim: claim.overtaken(0, "v0", runtime().utc_now()))
    runtime().sleep(3)


def that_cannot_be_moved(key: Key) -> None:
    """Its load fails for good, and the settled version stays where it is."""
    key.drop()
    key.patch.setattr(blocks.landing_zone, "LONGEST_KEY_BYTES", 1)


def held_by_another_run(key: Key) -> None:
    """That run ends in time, and the run that looks has been announced for the version that it loads."""
    key.held.append(key.claim())


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    "before",
    [
        landed,
        archived,
        settled_and_not_moved,
        replaced_by_one_that_waits,
        deleted_while_it_waits,
        reload_due,
        that_cannot_be_moved,
        held_by_another_run,
    ],
)
def test_a_version_that_comes_at_any_moment_is_due_when_the_run_that_looks_has_died(
    before: Callable[[Key], None], *, force: bool
) -> None:
    hidden, calls, dies_at = list[str](), 1, 0
    while calls >= dies_at:  # the run of the round before did not end by itself
        dies_at += 1
        for comes_at in range(1, dies_at + 1):
            calls, is_due = _a_run_that_dies(before, comes_at, dies_at, force=force)
            hidden += [] if is_due else [f"it comes before call {comes_at}, and the run dies before call {dies_at}"]
    assert calls > 1
    assert not hidden, "\n".join(hidden)


def _a_run_that_dies(before: Callable[[Key], None], comes_at: int, dies_at: int, *, force: bool) -> tuple[int, bool]:
    """The calls to AWS that the run has made, and whether the version that came is due or loaded in the end."""
    calls, is_due, keys, made = 0, False, list[Key](), _Attempt.made

    def counted(attempt: _Attempt) -> Any:  # noqa: ANN401 - the answer of any service
        nonlocal calls
        if running_process().properties.get("looks"):
            calls += 1
            if calls == comes_at:
                running_process().properties["looks"] = False  # what another process does
                keys[0].announce()
                running_process().properties["looks"] = True
            if calls == dies_at:
                running_process().kill()
                running_thread().wait()
        return made(attempt)

    def prepared(product: Product, ledger: FileLedger) -> None:
        keys.append(Key(product, ledger, patch))
        before(keys[0])

    def looks(_: Product, ledger: FileLedger) -> None:
        keys[0].ledger = ledger
        running_process().properties["looks"] = True
        with suppress(Exception):  # what it was to load is gone
            ingested(file(), force=force)

    def afterwards(product: Product, ledger: FileLedger) -> None:
        nonlocal is_due
        for _, owned in keys[0].held:
            ledger.end_claim(owned.held)
        current = product.bucket.current(KEY)
        entry = ledger.entry(file(version_id=current.version_id)) if current else None
        is_settled = current is None or (entry is not None and entry.status in SETTLED)
        is_due = is_settled or ledger.claim_of(BUCKET, KEY).next_try_at is not None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Attempt, "made", counted)
        played(prepared, looks, afterwards)
    return calls, is_due
