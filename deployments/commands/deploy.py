"""`sensor-ingest deploy`."""

import json
from typing import Annotated

import typer

from deployments.commands.options import AsJson, DataDir
from deployments.commands.stack_selection import use_stack


def deploy(
    *,
    stack: Annotated[str | None, typer.Option(help="CloudFormation stack to read the outputs of.")] = None,
    ecs_stack: Annotated[
        str | None, typer.Option(help="CloudFormation stack of aws/ecs.yaml, for runs as tasks in ECS.")
    ] = None,
    notify_after: Annotated[
        float | None, typer.Option(min=0, metavar="SECONDS", help="Seconds between loading and email of deployed runs.")
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Create or update the work pool, blocks, deployments and automations on the Prefect server. Idempotent."""
    use_stack(data_dir)
    from blocks.domain.names import WORK_POOL, deployment_name
    from deployments.commands.feed.known import as_rows, known_feeds
    from deployments.server.api_access import require_api
    from deployments.server.deploy import deploy_all
    from deployments.server.feed_files import feeds_in_files
    from deployments.server.prefect_yaml import prefect_yaml

    require_api()
    feeds_in_files()  # a fault is named here; below, it would end the step of `prefect deploy` with a traceback
    output = deploy_all(stack=stack, ecs_stack=ecs_stack, notify_after_seconds=notify_after)
    names = [deployment_name(each["name"]) for each in prefect_yaml()["deployments"]]
    if as_json:
        typer.echo(json.dumps({"work_pool": WORK_POOL, "deployments": names}, indent=2))
    else:
        typer.echo(f"{output.rstrip()}\n\nFeeds on the server, with their tables:\n\n{as_rows(known_feeds())}")
