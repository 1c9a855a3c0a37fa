"""`sensor-ingest demo`."""

from pathlib import Path
from typing import Annotated

import typer

from deployments.commands.options import AsJson, NotifyAfter, json_alone
from deployments.commands.stack_selection import DEFAULT_DATA_DIR


def demo(
    *,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the stack running until Ctrl-C.")] = False,
    data_dir: Annotated[Path, typer.Option(help="Where the stack keeps its state.")] = DEFAULT_DATA_DIR / "demo",
    notify_after: NotifyAfter = 15,
    as_json: AsJson = False,
) -> None:
    """Run the main job on this machine, from the upload to the email, with a short wait."""
    from deployments.commands.demo.story import run_demo

    with json_alone(as_json=as_json) as print_document:
        run_demo(data_dir, notify_after, print_document, keep=keep)
