"""`sensor-ingest status`."""

import json
import sys
import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from deployments.commands.options import AsJson, DataDir
from deployments.commands.stack_selection import use_stack

if TYPE_CHECKING:
    from deployments.commands.status.look import System
    from deployments.commands.status.seen import Status

WATCH_SECONDS: Final = 2
WATCH_CLOUD_SECONDS: Final = 10
"""A look makes 12 requests. Prefect Cloud takes 250 a minute, or more. Source: its "Rate limits and data retention"."""


def status(
    *,
    watch: Annotated[bool, typer.Option("--watch", help="Draw it again every 2 seconds, until Ctrl-C.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show what waits, what runs, what is due next, and what needs a person. Exit code 1: something does."""
    if watch and as_json:
        raise typer.BadParameter("--json prints one document", param_hint="--watch")
    use_stack(data_dir)
    from deployments.commands.status.look import System
    from deployments.commands.status.seen import as_document, troubles

    system = System()
    if watch:
        _watch(system)
        return
    seen = system.look()
    if as_json:
        typer.echo(json.dumps(as_document(seen), indent=2))
    else:
        _print(seen)
    raise typer.Exit(1 if troubles(seen) else 0)


def _print(seen: "Status") -> None:
    from rich.console import Console

    from deployments.commands.status.screen import screen

    console = Console(highlight=False, soft_wrap=True)
    console.print(screen(seen, console.width))


def _watch(system: "System") -> None:
    from rich.console import Console
    from rich.live import Live

    from deployments.commands.status.prefect_parts import is_cloud
    from deployments.commands.status.screen import screen

    console = Console(highlight=False)
    pause = WATCH_CLOUD_SECONDS if is_cloud() else WATCH_SECONDS
    with Live(console=console, auto_refresh=False, screen=console.is_terminal) as live:
        try:
            while True:
                live.update(screen(system.look(), console.width), refresh=True)
                time.sleep(pause)
        except KeyboardInterrupt:
            sys.exit(0)
