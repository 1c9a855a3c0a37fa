"""`sensor-ingest relay`."""

import json
import logging
from typing import Annotated

import typer

from deployments.commands.options import AsJson, DataDir
from deployments.commands.stack_selection import use_stack


def relay(
    *,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65535,
            envvar="SENSOR_INGEST_METRICS_PORT",
            help="Loopback port that serves metrics to Prometheus; 0 for any free one.",
            show_default="none",
        ),
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Send an event to Prefect for the files that the queue announces, until Ctrl-C; `up` includes a relay."""
    use_stack(data_dir)
    from deployments.relay.logger import log
    from deployments.relay.relay import Relay
    from deployments.relay.stop_signal import StopSignal

    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s")
    log.setLevel(logging.INFO)
    relay = Relay.of_stack()
    with StopSignal() as stop:
        relay.serve(stop, metrics_port)
    if as_json:
        typer.echo(json.dumps(relay.metrics.as_document(), indent=2))
