"""The command `sensor-ingest`. Commands import what they need when they are called: `put` need not wait for Prefect."""

import json
import logging
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer

from blocks.domain.errors import SensorIngestError
from deployments.commands.stack_selection import DEFAULT_DATA_DIR, stack_in, use_stack

app = typer.Typer(
    help="CSV files of sensor readings from S3 into DynamoDB, every good row of them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

DataDir = Annotated[
    Path | None,
    typer.Option(help="Directory of the embedded stack to talk to.", show_default=".local, if one runs there"),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output, and nothing else there.")
]
NotifyAfter = Annotated[float, typer.Option(min=0, metavar="SECONDS", help="Seconds between loading and email.")]


@contextmanager
def document_alone(*, as_json: bool) -> Iterator[Callable[[str], None]]:
    """What shows the one JSON document, if one is wanted: all that is printed besides goes to standard error then."""
    if not as_json:
        yield lambda _: None
        return
    standard_output = sys.stdout
    with redirect_stdout(sys.stderr):
        yield lambda document: typer.echo(document, standard_output)


@app.command()
def demo(
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the stack running until Ctrl-C.")] = False,
    data_dir: Annotated[Path, typer.Option(help="Where the stack keeps its state.")] = DEFAULT_DATA_DIR / "demo",
    notify_after: NotifyAfter = 15,
    as_json: AsJson = False,
) -> None:
    """The main job on this machine, start to email, with a short wait."""
    from deployments.commands.demo_run import run_demo

    with document_alone(as_json=as_json) as show:
        run_demo(data_dir, notify_after, show, keep=keep)


@app.command()
def up(
    *,
    data_dir: Annotated[Path, typer.Option(help="Where the stack keeps its state.")] = DEFAULT_DATA_DIR,
    prefect_port: Annotated[
        int, typer.Option(help="Port of the Prefect server and its UI; 0 for any free one.")
    ] = 4200,
    aws_port: Annotated[int, typer.Option(help="Port of the AWS emulator; 0 for any free one.")] = 4566,
    notify_after: NotifyAfter = 600,
    as_json: AsJson = False,
) -> None:
    """Run everything on this machine until Ctrl-C: emulator, PostgreSQL, Prefect server, worker, relay."""
    from deployments.embedded import EmbeddedStack
    from deployments.server.prefect_yaml import prefect_deploy_all

    with (
        document_alone(as_json=as_json) as show,
        EmbeddedStack(
            data_dir,
            prefect_port=prefect_port,
            aws_port=aws_port,
            notify_after_seconds=notify_after,
            deploy=prefect_deploy_all,
        ) as stack,
    ):
        show(stack.description.model_dump_json(indent=2))
        stack.wait_forever()


@app.command()
def env(
    *,
    data_dir: Annotated[Path, typer.Option(help="Directory of the embedded stack.")] = DEFAULT_DATA_DIR,
    as_json: AsJson = False,
) -> None:
    """Print shell exports that point `prefect`, `aws` and this command at an embedded stack."""
    from deployments.embedded.description import UNWANTED_VARIABLES

    stack = stack_in(data_dir)
    if as_json:
        typer.echo(json.dumps(stack.environment, indent=2))
        return
    for name in UNWANTED_VARIABLES:
        if name in os.environ:
            typer.echo(f"unset {name}")
    for name, value in stack.environment.items():
        typer.echo(f"export {name}={shlex.quote(value)}")


@app.command()
def put(
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, metavar="FILE", help="Files to upload.")],
    *,
    key: Annotated[str | None, typer.Option(help="Key under incoming/, for one file; its name, if not given.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Upload files into incoming/, as anything that drops files there does."""
    if key and len(files) != 1:
        raise typer.BadParameter("--key names one file; give the files one by one", param_hint="--key")
    by_key = {key or file.name: file for file in files}
    if len(by_key) != len(files):
        raise typer.BadParameter("two have the same name; put them one by one, each with a --key", param_hint="FILE")
    use_stack(data_dir)
    from deployments.commands.upload import drop

    uris = drop(by_key)
    if as_json:
        typer.echo(json.dumps({"files": list(uris)}))
    else:
        for uri in uris:
            typer.echo(uri)


@app.command()
def check(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A file, or an address like s3://bucket/incoming/x.csv.")],
    *,
    rejects: Annotated[
        Path | None, typer.Option(dir_okay=False, metavar="PATH", help="Where to write the refused rows, as CSV.")
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Say what would become of a file, and write nothing. Exits with 0: accepted, 3: accepted in part, 4: refused."""
    if file.startswith("s3://"):
        use_stack(data_dir)
    from deployments.commands.file_check import EXIT_CODES, as_document, as_text, validated_file

    try:
        validated = validated_file(file, rejects)
    except (OSError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    typer.echo(json.dumps(as_document(file, validated), indent=2) if as_json else as_text(file, validated))
    raise typer.Exit(EXIT_CODES[validated.verdict])


@app.command()
def run(
    files: Annotated[
        list[str], typer.Argument(metavar="ADDRESS", help="Addresses like s3://bucket/incoming/sensors.csv.")
    ],
    *,
    notify_after: NotifyAfter = 600,
    force: Annotated[bool, typer.Option("--force", help="Load again what was loaded before.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Load files in this process, with no worker, through to the email."""
    use_stack(data_dir)
    from blocks.domain.errors import IngestFailedError
    from blocks.domain.models import SensorFile
    from blocks.domain.s3_keys import parse_s3_uri, s3_uri
    from flows.ingest import ingest_sensor_files
    from flows.notification.email import email_text

    try:
        objects = [SensorFile.model_validate(s3_uri(*parse_s3_uri(file))) for file in files]
    except ValueError as error:
        raise typer.BadParameter(f"{error}; `sensor-ingest put` uploads a file of this machine") from error
    state = ingest_sensor_files(objects, notify_after, force, return_state=True)
    result: Any = state.result(raise_on_failure=False)
    report = result.report if isinstance(result, IngestFailedError) else result
    if isinstance(report, Exception):
        raise report
    typer.echo(report.model_dump_json(indent=2) if as_json else email_text(report.files))
    told = report.notification is None or report.notification.state == "Completed"
    raise typer.Exit(0 if state.is_completed() and told else 1)


@app.command()
def history(
    *,
    file: Annotated[str | None, typer.Option(metavar="s3://…", help="All versions of this one file.")] = None,
    since: Annotated[str | None, typer.Option(help="An age like 24h or 7d, or a date like 2026-11-22 (UTC).")] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Entries at the most.", show_default="20; all with --since or --html")
    ] = None,
    html: Annotated[Path | None, typer.Option(dir_okay=False, metavar="PATH", help="Write a page with plots.")] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Say what was loaded, when, from which file and run, as the ledger remembers it; the latest first."""
    use_stack(data_dir)
    from datetime import UTC, datetime

    from deployments.commands.history_entries import entries, moment, show
    from deployments.commands.history_page import page

    try:
        found = entries(file, moment(since) if since else None, limit or (1_000_000 if since or html else 20))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if html:
        html.write_text(page(found, datetime.now(UTC)), encoding="utf-8")
        typer.echo(f"{len(found)} file(s) in {html}", err=True)
    if as_json:
        typer.echo(json.dumps([entry.model_dump(mode="json") for entry in found], indent=2))
    elif found:
        show(found) if not html else None
    else:
        typer.echo("no file has come in that time; `sensor-ingest put FILE` drops one", err=True)


@app.command()
def sweep(*, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Take up what an event missed or a crash left behind over 15 minutes ago, as the deployment `sweep` does."""
    use_stack(data_dir)
    from deployments.server.api_access import require_api
    from flows.sweep import sweep as sweep_flow

    require_api()
    report = sweep_flow()
    typer.echo(report.model_dump_json(indent=2) if as_json else str(report))


@app.command()
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
    """Bring a Prefect server to where runs work: work pool, blocks, deployments, automations. Repeat it as you like."""
    use_stack(data_dir)
    from blocks.domain.names import WORK_POOL, deployment_name
    from deployments.server.api_access import require_api
    from deployments.server.deploy import deploy_all
    from deployments.server.prefect_yaml import prefect_yaml

    require_api()
    said = deploy_all(stack=stack, ecs_stack=ecs_stack, notify_after_seconds=notify_after)
    done = {
        "work_pool": WORK_POOL,
        "deployments": [deployment_name(each["name"]) for each in prefect_yaml()["deployments"]],
    }
    typer.echo(json.dumps(done, indent=2) if as_json else said)


@app.command()
def relay(
    *,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            envvar="SENSOR_INGEST_METRICS_PORT",
            help="Port on loopback where Prometheus finds figures; 0 for any free one.",
            show_default="none",
        ),
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Carry announcements from the queue to Prefect until Ctrl-C; `up` runs one by itself."""
    use_stack(data_dir)
    from deployments.relay.relay import Relay
    from deployments.relay.stop_signal import StopSignal

    logging.basicConfig(format="%(asctime)s %(name)s: %(message)s")
    logging.getLogger("relay").setLevel(logging.INFO)
    relay = Relay.of_stack()
    with StopSignal() as stop:
        relay.serve(stop, metrics_port)
    if as_json:
        typer.echo(json.dumps(relay.figures.as_document(), indent=2))


@app.command()
def doctor(*, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Check everything that a run needs, and say what to do about what is missing. Exits with 1 if something is."""
    use_stack(data_dir)
    from deployments.doctor import as_document, as_text, examine, is_healthy

    findings = list(examine())
    typer.echo(json.dumps(as_document(findings), indent=2) if as_json else as_text(findings))
    raise typer.Exit(0 if is_healthy(findings) else 1)


@app.command()
def redrive(*, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Put what the queue has given up (dead letters) back into it; what S3 never sent is named, and left."""
    use_stack(data_dir)
    from deployments.relay.dead_letters import redrive_stack

    done = redrive_stack()
    typer.echo(json.dumps(done.as_document()) if as_json else str(done))


def main() -> None:
    """Run the command; what went wrong in a way that we know is said in words, without a traceback."""
    try:
        app()
    except SensorIngestError as error:
        typer.echo(f"sensor-ingest: {error}", err=True)
        sys.exit(1)
    except Exception as error:
        from deployments.commands.connection_errors import remedy

        said = remedy(error)
        if said is None:
            raise
        typer.echo(f"sensor-ingest: {said}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
