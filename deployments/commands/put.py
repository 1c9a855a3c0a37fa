"""`sensor-ingest put`."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer

from deployments.commands.options import AsJson, DataDir
from deployments.commands.stack_selection import use_stack


def put(
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, metavar="FILE", help="Files to upload.")],
    *,
    key: Annotated[
        str | None, typer.Option(help="Key under incoming/ for a single file; by default the file's name.")
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Upload files into incoming/ of the bucket, like any other source of files."""
    if key and len(files) != 1:
        raise typer.BadParameter("--key names one file; upload the files one by one", param_hint="--key")
    if key and key.endswith("/"):
        raise typer.BadParameter("S3 takes a key that ends in a slash for a folder, so the file would not be loaded")
    by_key = {key or file.name: file for file in files}
    if len(by_key) != len(files):
        raise typer.BadParameter("two have the same name; upload them one by one, each with a --key", param_hint="FILE")
    from blocks.domain.text import printable

    use_stack(data_dir)
    uris = upload(by_key)
    if as_json:
        typer.echo(json.dumps({"files": list(uris)}))
    else:
        for uri in uris:
            typer.echo(printable(uri))


def upload(files: Mapping[str, Path]) -> Iterator[str]:
    """The address of each file as soon as it is uploaded, under its key below the prefix of incoming files.

    Raises:
        StackMissingError: no CloudFormation stack says which bucket that is.
    """
    import boto3

    from blocks.domain.s3_keys import s3_uri
    from blocks.stack_outputs import current_stack_outputs

    outputs = current_stack_outputs()
    s3 = boto3.client("s3")
    for name, file in files.items():
        key = outputs.incoming_prefix + name.removeprefix(outputs.incoming_prefix)
        s3.upload_file(str(file), outputs.bucket_name, key)
        yield s3_uri(outputs.bucket_name, key)
