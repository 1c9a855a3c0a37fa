"""Text from outside, made harmless to show."""

from typing import Annotated

from pydantic import AfterValidator


def printable(text: str) -> str:
    r"""The text on one line, with what cannot be printed spelled out: a tab as `\t`, a NUL as `\x00`."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


# PostgreSQL, which Prefect keeps parameters and states in, stores no NUL: the server would answer 500, for ever.
Printable = Annotated[str, AfterValidator(printable)]
