"""What the machine and the flow run offer."""

from contextvars import ContextVar
from threading import Event

from blocks.runtime import Runtime

RUN: ContextVar[str] = ContextVar("RUN", default="none")


def test_an_action_that_is_repeated_belongs_to_the_run_that_has_begun_it() -> None:
    seen, called = list[str](), Event()

    def action() -> bool:
        seen.append(RUN.get())
        called.set()
        return False

    before = RUN.set("this run")
    try:
        with Runtime().repeated(action, 0.001, "repeated"):
            assert called.wait(60)
    finally:
        RUN.reset(before)
    assert ["this run"] == seen
