"""What the command line says of words that it can not make sense of."""

import pytest
from typer.testing import CliRunner

from deployments.cli import app


@pytest.mark.parametrize("address", ["my-readings.csv", "s3://bucket", "s3:///key", "https://bucket/key"])
def test_what_is_no_address_in_s3_is_named_with_what_would_upload_it(address: str) -> None:
    result = CliRunner().invoke(app, ["run", address])
    said = " ".join(result.stderr.replace("\u2502", "").split())
    assert 2 == result.exit_code
    assert f"not an S3 address: {address!r}" in said
    assert "sensor-ingest put" in said
