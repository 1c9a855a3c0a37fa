"""`sensor-ingest redrive`."""

import json

import typer

from deployments.commands.options import AsJson, DataDir
from deployments.commands.stack_selection import use_stack


def redrive(*, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Move dead letters back into the queue; messages that S3 did not send stay, and are listed."""
    use_stack(data_dir)
    from deployments.relay.dead_letters import redrive_stack

    done = redrive_stack()
    typer.echo(json.dumps(done.as_document()) if as_json else str(done))
