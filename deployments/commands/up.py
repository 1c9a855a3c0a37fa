"""`sensor-ingest up`."""

from pathlib import Path
from typing import Annotated

import typer

from deployments.commands.options import AsJson, NotifyAfter, json_alone
from deployments.commands.stack_selection import DEFAULT_DATA_DIR


def up(
    *,
    data_dir: Annotated[Path, typer.Option(help="Where the stack keeps its state.")] = DEFAULT_DATA_DIR,
    prefect_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the Prefect server and its UI; 0 for any free one.")
    ] = 4200,
    aws_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the AWS emulator; 0 for any free one.")
    ] = 4566,
    notify_after: NotifyAfter = 600,
    as_json: AsJson = False,
) -> None:
    """Run the whole system on this machine until Ctrl-C: AWS emulator, PostgreSQL, Prefect server, worker, relay."""
    typer.echo("starting, which takes about 20 seconds, and longer the first time", err=True)
    from deployments.embedded import EmbeddedStack
    from deployments.server.prefect_yaml import prefect_deploy_all

    with (
        json_alone(as_json=as_json) as print_document,
        EmbeddedStack(
            data_dir,
            prefect_port=prefect_port,
            aws_port=aws_port,
            notify_after_seconds=notify_after,
            deploy=prefect_deploy_all,
        ) as stack,
    ):
        print_document(stack.description.model_dump_json(indent=2))
        stack.wait_forever()
