"""The command `sensor-ingest`. Commands import what they need when they are called: `put` does not import Prefect."""

import sys

import typer

from blocks.domain.errors import SensorIngestError
from deployments.commands.check import check
from deployments.commands.demo import demo
from deployments.commands.deploy import deploy
from deployments.commands.doctor import doctor
from deployments.commands.env import env
from deployments.commands.feed import feed
from deployments.commands.history import history
from deployments.commands.put import put
from deployments.commands.redrive import redrive
from deployments.commands.relay import relay
from deployments.commands.retry import retry
from deployments.commands.run import run
from deployments.commands.status import status
from deployments.commands.sweep import sweep
from deployments.commands.up import up

app = typer.Typer(
    help="Load CSV files of sensor readings from S3 into DynamoDB, every good row of them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for command in (demo, up, env, put, check, run, status, history, sweep, deploy, relay, doctor, redrive, retry):
    app.command()(command)
app.add_typer(feed, name="feed")


def main() -> None:
    """Run the command; an error that has a remedy is printed with it, without a traceback."""
    try:
        app()
    except SensorIngestError as error:
        message: str | None = str(error)
    except Exception as error:
        from deployments.commands.connection_errors import remedy

        message = remedy(error)
        if message is None:
            raise
    else:
        return
    typer.echo(f"sensor-ingest: {message}", err=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
