# ruff: noqa: PLC0415 - each way imports what it needs, in its own process
"""The ways to write a CSV to a table that `write.py` compares; each runs in a process of its own.

    python -m benchmarks.write_clients CLIENT FILE ENDPOINT KIND

loads the file, from its first byte to the last acknowledged item, and prints one JSON object.
"""

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.write_files import KINDS, Kind

if TYPE_CHECKING:
    from prefect_aws.credentials import AwsCredentials

TABLE = "readings"


def client_settings(endpoint: str = "") -> dict[str, Any]:
    return {
        "endpoint_url": endpoint or sys.argv[3],
        "region_name": "eu-central-1",
        "aws_access_key_id": "AKIDEXAMPLE",
        "aws_secret_access_key": "made-up-secret",
        "verify": os.environ.get("CA_BUNDLE") or None,
    }


def block_credentials(settings: dict[str, Any]) -> "AwsCredentials":
    """The same settings as the blocks of this project have them."""
    from prefect_aws.client_parameters import AwsClientParameters
    from prefect_aws.credentials import AwsCredentials
    from pydantic import SecretStr

    # Without `verify`, prefect-aws drops the path when a saved block is loaded again.
    bundle = {"verify": True, "verify_cert_path": settings["verify"]} if settings["verify"] else {}
    return AwsCredentials(
        aws_access_key_id=settings["aws_access_key_id"],
        aws_secret_access_key=SecretStr(settings["aws_secret_access_key"]),
        region_name=settings["region_name"],
        aws_client_parameters=AwsClientParameters(endpoint_url=settings["endpoint_url"], **bundle),
    )


def ours(path: Path, kind: Kind, sender: str = "fast") -> Callable[[], int]:
    """This project: validation, duplicates and all."""
    import blocks.dynamodb.writing  # noqa: F401 - what has to be imported once is not measured, here and below
    from blocks.domain.feed.documents import feed_of_json
    from blocks.readings_table import ReadingsTable
    from flows.rows import ValidationSettings, validate_file

    credentials = block_credentials(client_settings())
    table = ReadingsTable.model_validate({"table_name": TABLE, "credentials": credentials, "sender": sender})
    table._client("dynamodb")  # noqa: SLF001 - made once, like its import
    settings = ValidationSettings(feed_of_json(kind.feed.read_bytes(), str(kind.feed)))

    def load() -> int:
        with tempfile.TemporaryDirectory() as workspace, path.open("rb") as body:
            return table.write(validate_file(body, Path(workspace), settings).items())

    return load


def ours_through_boto3(path: Path, kind: Kind) -> Callable[[], int]:
    return ours(path, kind, "boto3")


def put_item(path: Path, _kind: Kind) -> Callable[[], int]:
    """A call for each row, as the tutorial does."""
    from decimal import Decimal

    import boto3
    import pandas as pd

    table = boto3.resource("dynamodb", **client_settings()).Table(TABLE)

    def load() -> int:
        frame = pd.read_csv(path, names=["sensor_id", "timestamp", "value"], dtype={"value": str})
        for row in frame.itertuples():
            table.put_item(
                Item={
                    "sensor_id": str(row.sensor_id),
                    "timestamp": int(str(row.timestamp)),
                    "value": Decimal(str(row.value)),
                }
            )
        return len(frame)

    return load


def batch_writer(path: Path, _kind: Kind) -> Callable[[], int]:
    """What boto3's documentation shows for many items."""
    from decimal import Decimal

    import boto3
    import pandas as pd

    table = boto3.resource("dynamodb", **client_settings()).Table(TABLE)

    def load() -> int:
        frame = pd.read_csv(path, names=["sensor_id", "timestamp", "value"], dtype={"value": str})
        with table.batch_writer() as batch:
            for row in frame.itertuples():
                batch.put_item(
                    Item={
                        "sensor_id": str(row.sensor_id),
                        "timestamp": int(str(row.timestamp)),
                        "value": Decimal(str(row.value)),
                    }
                )
        return len(frame)

    return load


def wrangler_put_df(path: Path, kind: Kind) -> Callable[[], int]:
    import pandas as pd
    from awswrangler import dynamodb

    session = wrangler_session()

    def load() -> int:
        frame = pd.read_csv(path, **kind.read_csv)
        dynamodb.put_df(df=frame, table_name=TABLE, boto3_session=session, use_threads=True)
        return len(frame)

    return load


def wrangler_put_csv(path: Path, kind: Kind) -> Callable[[], int]:
    from awswrangler import dynamodb

    session = wrangler_session()

    def load() -> int:
        dynamodb.put_csv(path=str(path), table_name=TABLE, boto3_session=session, use_threads=True, **kind.read_csv)
        with path.open("rb") as lines:
            return sum(1 for _ in lines) - ("names" not in kind.read_csv)

    return load


def wrangler_session() -> Any:  # noqa: ANN401 - boto3's, in another environment
    import awswrangler
    import boto3

    settings = client_settings()
    awswrangler.config.dynamodb_endpoint_url = settings.pop("endpoint_url")
    settings.pop("verify")
    return boto3.Session(**settings)


CLIENTS: dict[str, Callable[[Path, Kind], Callable[[], int]]] = {
    "put_item per row": put_item,
    "awswrangler put_df": wrangler_put_df,
    "awswrangler put_csv": wrangler_put_csv,
    "batch_writer": batch_writer,
    "ours, through boto3": ours_through_boto3,
    "ours": ours,
}
OF_ANY_KIND = ["awswrangler put_df", "awswrangler put_csv", "ours, through boto3", "ours"]
"""Those that load other files than readings."""


def main() -> None:
    load = CLIENTS[sys.argv[1]](Path(sys.argv[2]), KINDS[sys.argv[4]])
    started, cpu = time.perf_counter(), time.process_time()
    items = load()
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"items": items, "seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mb": peak}))


if __name__ == "__main__":
    main()
