"""A scene at one key: a run of `ingest` whose calls to AWS are counted, and what others do before any of them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import pytest
from botocore.exceptions import EndpointConnectionError

from blocks.domain.models import SETTLED
from blocks.file_ledger.claim_rules import Claim
from blocks.file_ledger.claiming import SETTLED_AS_GONE, Owned
from tests.simulation.network import _Attempt
from tests.simulation.played import KEY, ROWS, file, ingested, undisturbed_product
from tests.simulation.processes import Process, current_thread, running_thread
from tests.simulation.product import BUCKET, Product, _blocks
from tests.simulation.runtime import running_process
from tests.simulation.world import World

RELAY: Final = timedelta(seconds=90)
NEWER: Final = "sensor-1,1,newer"
_LONGEST_SECONDS: Final = 50_000


@dataclass
class Plan:
    """What happens before which call of a process; calls count from 1."""

    before: dict[int, list[Callable[[], object]]] = field(default_factory=dict)
    dies_at: int = 0
    fails_at: range = range(0)
    """Calls that get no answer."""
    calls: list[str] = field(default_factory=list)
    """Those that were made."""

    def at(self, call: int, *actions: Callable[[], object]) -> None:
        """Have others do this before the call."""
        self.before.setdefault(call, []).extend(actions)


class Scene:
    """One world with one key. Whatever is done, is done in a process of its own."""

    def __init__(self, world: World, product: Product) -> None:
        self.world, self.product = world, product
        self._number = 0

    def do(self, action: Callable[[], object], plan: Plan | None = None) -> Any:  # noqa: ANN401 - of the action
        """What the action comes back with; None if its process dies. The caller may be a simulated process itself."""
        self._number += 1
        results: list[Any] = []
        process = self.world.process(f"process-{self._number}", lambda: results.append(action()), skew=0, faults=False)
        process.properties.update(flow_run_id=f"run-{self._number}", plan=plan)
        self._wait_for(process)
        if process.error:
            raise process.error
        return results[0] if results else None

    def _wait_for(self, process: Process) -> None:
        if current_thread() is None:
            self.world.run(self.world.scheduler.now + _LONGEST_SECONDS, ended=lambda: bool(process.ended))
        else:
            while not process.ended:
                running_thread().sleep(0.05)

    def pass_time(self, seconds: float) -> None:
        """Let that time pass."""
        self.world.run(self.world.scheduler.now + seconds)

    # ---- What others do -------------------------------------------------------------------------------------------

    def land(self, rows: str = ROWS) -> None:
        """A version lands."""
        self.do(lambda: self.product.drop(KEY, rows))

    def land_newer(self) -> None:
        """A version with other rows lands."""
        self.land(NEWER)

    def announce(self) -> None:
        """The relay announces the key; the announced run never comes."""
        self.do(lambda: _blocks().file_ledger.expect([file()], RELAY))

    def ingest(self, plan: Plan | None = None, *, force: bool = False) -> None:
        """A run of `ingest` looks at the key, and does what is to be done."""

        def run() -> None:
            with suppress(Exception):  # what it was to load is gone, or AWS gives no answer
                ingested(file(), force=force)

        self.do(run, plan)

    def claim(self) -> Owned:
        """Another run claims the version that is there."""

        def claimed() -> object:
            found = _blocks().landing_zone.describe(file())
            assert found
            return _blocks().file_ledger.claim(found, f"claim-{self._number}", f"run-{self._number}")

        owned = self.do(claimed)
        assert isinstance(owned, Owned)
        return owned

    def note(self) -> None:
        """A run looks at the key, which another one holds."""

        def noted() -> None:
            found = _blocks().landing_zone.describe(file())
            assert found
            _blocks().file_ledger.claim(found, "another claim", "another run")

        self.do(noted)

    def fail(self, owned: Owned) -> None:
        """The load of the run that holds the key fails."""
        self.do(lambda: _blocks().file_ledger.release(owned.held, owned.entry, "a problem"))

    def settle(self, owned: Owned, *, removed: bool = True) -> None:
        """The run that holds the key archives the version; it goes on holding the key."""

        def settled() -> None:
            zone = _blocks().landing_zone
            found = zone.describe(file())
            assert found
            update = {"status": "archived", "archived_to": zone.store_copy(found, "archived")}
            _blocks().file_ledger.settle(owned.held, owned.entry.model_copy(update=update))
            if removed:
                zone.remove(found)

        self.do(settled)

    def end(self, owned: Owned) -> None:
        """The run that holds the key ends its claim."""
        self.do(lambda: _blocks().file_ledger.end_claim(owned.held))

    def delete(self) -> None:
        """The sender deletes the version that is there."""
        self.do(lambda: _blocks().landing_zone.remove(file()))

    def change(self, change: Callable[[Claim], Claim]) -> None:
        """The claim is changed."""
        self.do(lambda: _blocks().file_ledger.change(BUCKET, KEY, change))

    # ---- What is so then ------------------------------------------------------------------------------------------

    @property
    def claim_now(self) -> Claim:
        claim = self.do(lambda: _blocks().file_ledger.claim_of(BUCKET, KEY))
        assert isinstance(claim, Claim)
        return claim

    def is_hidden(self) -> bool:
        """Whether a version is in `incoming/` that is neither settled nor due."""
        return self._is_left() and self.claim_now.next_try_at is None

    def rounds_until_nothing_is_due(self, most: int = 20) -> int:
        """How often the relay announces the key, each time for a run that comes, until nothing is due.

        `most` if the key is due for ever, or if the version that is in `incoming/` is not settled then.
        """
        for number in range(most):
            next_try_at = self.claim_now.next_try_at
            if next_try_at is None:
                return most if self._is_left() else number
            self.pass_time(max(0.0, (next_try_at - self.world.scheduler.true_time).total_seconds() + 2))
            self.announce()
            self.ingest()
        return most

    def _is_left(self) -> bool:
        current = self.product.bucket.current(KEY)
        if current is None:
            return False
        version = current.version_id or current.etag.strip('"')
        entries = self.do(lambda: _blocks().file_ledger.entries_of(BUCKET, KEY))
        return not any(
            entry.version == version
            and entry.status in SETTLED - SETTLED_AS_GONE
            and entry.landed_at.replace(microsecond=0) == current.landed_at.replace(microsecond=0)
            for entry in entries
        )


@contextmanager
def scene(*, versioned: bool = True) -> Iterator[Scene]:
    """A new scene, without faults but those that plans have."""
    with undisturbed_product() as product, pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Attempt, "made", _planned(_Attempt.made))
        product.bucket.versioned = versioned
        yield Scene(product.world, product)


def _planned(made: Callable[[_Attempt], Any]) -> Callable[[_Attempt], Any]:
    def planned(attempt: _Attempt) -> Any:  # noqa: ANN401 - the answer of any service
        process = running_process()
        plan: Plan | None = process.properties.get("plan")
        if plan is None or running_thread() is not process.main:
            return made(attempt)
        plan.calls.append(f"{attempt.service.name}.{attempt.operation}")
        number = len(plan.calls)
        for action in plan.before.get(number, ()):
            action()
        if number == plan.dies_at:
            process.kill()
            running_thread().wait()
        if number in plan.fails_at:
            return EndpointConnectionError(endpoint_url=attempt.service.name)
        return made(attempt)

    return planned
