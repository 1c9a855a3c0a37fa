"""The commands of the command line by their names."""

import typer.main
from click import Command, Group

from deployments.cli import app


def all_commands() -> dict[str, Command]:
    """Each command by its name; those of a group by both names, such as `feed list`."""
    found: dict[str, Command] = {}
    for name, command in typer.main.get_group(app).commands.items():
        if isinstance(command, Group):
            found |= {f"{name} {each}": inner for each, inner in command.commands.items()}
        else:
            found[name] = command
    return found
