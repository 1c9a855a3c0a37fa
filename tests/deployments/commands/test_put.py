"""The command `sensor-ingest put`, where it is used wrongly."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from deployments.cli import app


@pytest.mark.parametrize("key", ["dir/", "incoming/", "incoming/a/"])
def test_a_key_of_a_folder_is_wrong_use(tmp_path: Path, key: str) -> None:
    """The relay and the sweep pass over keys that end in a slash, so such a file would never be loaded."""
    file = tmp_path / "x.csv"
    file.write_text("0000-0001,1483906366,10.10\n")
    result = CliRunner().invoke(app, ["put", str(file), "--key", key])
    assert (2, True) == (result.exit_code, "ends in a slash" in result.output)
