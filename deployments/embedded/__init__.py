"""The whole system on one machine: an AWS emulator, PostgreSQL, the Prefect server, a worker and the relay."""

from typing import TYPE_CHECKING

from deployments.embedded.description import StackDescription, running_stack
from deployments.embedded.errors import ExtraMissingError

if TYPE_CHECKING:
    from deployments.embedded.stack import EmbeddedStack

__all__ = ["EmbeddedStack", "StackDescription", "running_stack"]


def __getattr__(name: str) -> object:
    """Import EmbeddedStack on first use: it needs the extra `embedded`, which production does not install."""
    if name != "EmbeddedStack":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from deployments.embedded.stack import EmbeddedStack  # noqa: PLC0415 - see the docstring
    except ModuleNotFoundError as error:
        raise ExtraMissingError(error.name) from error
    return EmbeddedStack
