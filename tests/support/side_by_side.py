"""Tests side by side (`make test`): which worker of pytest-xdist runs a test, and in which order."""

from pathlib import PurePosixPath

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]  # it carries no types

ANYWHERE = frozenset({"blocks/domain", "flows/report", "flows/rows"})
"""Folders whose tests share next to nothing: each may run on any worker."""
BY_FUNCTION = frozenset({"faults"})
"""Folders whose tests take so long that each function is a scope of its own: more stacks, but side by side."""
WITH_A_DEPLOYED_SYSTEM = frozenset({"deployments/commands/status", "deployments/doctor", "deployments/relay"})
"""Folders that are kept together: a server that everything is deployed to takes half a minute to prepare."""
WITH_A_WORLD = frozenset({"flows/loading", "flows/notification", "flows/recovery"})
"""Folders that are kept together: Prefect's test harness with saved blocks takes twenty seconds to prepare."""
WITH_A_SERVER = frozenset({"blocks", "deployments/commands"})
"""Folders that are kept together: they share a Prefect server that nobody deployed to."""
LONGEST_FIRST = ("flows", "e2e", "deployments/embedded", *sorted(WITH_A_WORLD))
"""Folders that would keep one worker busy after all others have finished, if they came last."""


class FolderScheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Keeps each folder of tests on one worker: its servers and its stack are started once, and only there.

    A scheduler of our own, because `--dist loadgroup` of pytest-xdist 3.8 groups nothing under pytest 9.2, without a
    word (pytest-xdist #1386).
    """

    def _split_scope(self, nodeid: str) -> str:
        folder = _folder(nodeid)
        if folder in BY_FUNCTION:
            return nodeid.partition("[")[0]
        for together in (WITH_A_DEPLOYED_SYSTEM, WITH_A_WORLD, WITH_A_SERVER):
            if folder in together:
                return min(together)
        return nodeid if folder in ANYWHERE else folder


@pytest.hookimpl(optionalhook=True)  # there is no such hook with -p no:xdist
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> FolderScheduling:
    config.option.loadscopereorder = False  # the number of a folder's tests says nothing about how long they take
    return FolderScheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item], config: pytest.Config) -> None:
    """Long folders begin, others follow as they were found, and tests that fit into any gap are last."""
    if hasattr(config, "workerinput"):
        items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    folder = _folder(item.nodeid)
    if folder in LONGEST_FIRST:
        return LONGEST_FIRST.index(folder)
    return len(LONGEST_FIRST) + (folder in ANYWHERE)


def _folder(nodeid: str) -> str:
    """The folder below tests/ that a test is in, such as `blocks/dynamodb`."""
    return "/".join(PurePosixPath(nodeid.split("::", maxsplit=1)[0]).parts[1:-1])
