"""The commands of the command line by their names."""

from typing import Any

import typer.main

from deployments.cli import app


def all_commands() -> dict[str, Any]:  # typer has its own copy of click, whose types are private
    """Each command by its name; those of a group by both names, such as `feed list`."""
    found: dict[str, Any] = {}
    for name, command in typer.main.get_group(app).commands.items():
        inner: dict[str, Any] = getattr(command, "commands", {})
        found |= {f"{name} {each}": of_group for each, of_group in inner.items()} or {name: command}
    return found
