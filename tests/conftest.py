"""What all tests share. Each server is started once for each worker, when it is first needed; see `tests/support/`."""

import gc
import os
from pathlib import Path

# Prefect reads them when it is imported: no server or client of a test sends usage statistics, and no client spends
# 30 ms on reading all certificates of certifi, as no server of a test talks TLS.
os.environ.update({"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"})
os.environ["PREFECT_API_SSL_CERT_FILE"] = str(Path(__file__).with_name("support") / "certificate.pem")

import hypothesis
import pytest

from tests.support.deployed_system import deployed, deployed_system, environment, own_server
from tests.support.servers import aws, empty_database, prefect_api, prefect_server
from tests.support.side_by_side import pytest_collection_modifyitems, pytest_xdist_make_scheduler
from tests.support.world import world

__all__ = [
    "aws",
    "deployed",
    "deployed_system",
    "empty_database",
    "environment",
    "own_server",
    "prefect_api",
    "prefect_server",
    "pytest_collection_modifyitems",
    "pytest_xdist_make_scheduler",
    "world",
]

# Examples may take as long as they like: a shared machine stands still for a moment now and then.
hypothesis.settings.register_profile("shared machine", deadline=None)
hypothesis.settings.load_profile("shared machine")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say aloud what was not tested, and why: with `-q` a skipped test is one letter among hundreds."""
    skipped = terminalreporter.getreports("skipped")
    if skipped:
        terminalreporter.section("NOT TESTED", red=True, bold=True)
    for report in skipped:
        reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else report.longrepr
        terminalreporter.write_line(f"{report.nodeid}: {reason}", red=True)


def pytest_collection_finish() -> None:
    """All that is imported by now stays: the garbage collector need not go through it again and again."""
    gc.collect()
    gc.freeze()
