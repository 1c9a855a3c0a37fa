"""Text from outside, made safe to show."""

import logging
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator

if TYPE_CHECKING:
    Adapter = logging.LoggerAdapter["logging.Logger | logging.LoggerAdapter[Any]"]
else:
    Adapter = logging.LoggerAdapter


def printable(text: str) -> str:
    r"""The text on one line, with unprintable characters spelled out: a tab as `\t`, a NUL as `\x00`.

    Unprintable are also the controls of C1, such as the CSI that starts a terminal's commands, and those that change
    the direction of text (U+061C, U+200E, U+200F, U+202A to U+202E, U+2066 to U+2069).
    """
    if text.isprintable():  # nearly all are: 0.1 microseconds for a key, instead of 3
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


# PostgreSQL, in which Prefect keeps parameters and states, stores no NUL: the server would answer 500 every time.
Printable = Annotated[str, AfterValidator(printable)]


class OneLineLog(Adapter):
    """A logger whose messages are one line each, whatever text from outside is in them: see `printable`."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:  # noqa: ANN401 - as logging has it
        """Log the message, formatted with its arguments, at this level; beside them if they do not fit."""
        if self.isEnabledFor(level):
            stack = {"stacklevel": kwargs.pop("stacklevel", 1) + 1}  # not this line, but the one that logs
            super().log(level, "%s", printable(_formatted(str(msg), args)), **kwargs, **stack)


def _formatted(text: str, args: tuple[object, ...]) -> str:
    try:
        return text % args if args else text
    except (TypeError, ValueError):  # what raises here would end the load that has something to say
        return f"{text} {args}"
