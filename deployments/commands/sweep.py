"""`sensor-ingest sweep`."""

import typer

from deployments.commands.options import AsJson, DataDir
from deployments.commands.stack_selection import use_stack


def sweep(*, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Take up what an event missed or a crash left behind, as the deployment `sweep` does."""
    use_stack(data_dir)
    from blocks.domain.errors import SweepFailedError
    from deployments.server.api_access import require_api
    from flows.sweep import sweep as sweep_flow

    require_api()
    failure = None
    try:
        report = sweep_flow()
    except SweepFailedError as error:
        report, failure = error.report, error
    typer.echo(report.model_dump_json(indent=2) if as_json else str(report))
    if failure:
        raise failure
