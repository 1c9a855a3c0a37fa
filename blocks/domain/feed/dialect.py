"""Table Dialect: how the lines of a file are split into fields.

Source: "Table Dialect", Data Package standard, v2.
"""

from typing import Annotated, Literal

from pydantic import Field as Property

from blocks.domain.feed.properties import Described

# One ASCII character that means nothing else in a line: no letter, digit, line end, or sign of a number.
Delimiter = Annotated[str, Property(pattern=r"^[\t !#$%&'()*,/:;<=>?@\[\\\]^_`{|}~]$")]
Quote = Annotated[str, Property(pattern=r"^[\"'`|~^]$")]


class Dialect(Described):
    """The properties of the standard's Table Dialect that are supported; its other properties are refused.

    Whatever the dialect says, LF, CRLF and CR end a line, and spaces and tabs around a field do not belong to it.
    """

    delimiter: Delimiter = Property(default=",", description="The character between two fields.")
    header: bool = Property(
        default=True,
        description="Whether the first line names the fields. If false, a first line that names all of them is taken "
        "for a header all the same.",
    )
    quote_char: Quote | None = Property(
        default='"', description="The character around a field that contains the delimiter; null: there is none."
    )
    double_quote: Literal[True] = Property(default=True, description="Two quotes within a quoted field stand for one.")
    skip_initial_space: Literal[True] = Property(default=True, description="Spaces after a delimiter are left out.")
    line_terminator: Literal["\r\n", "\n", "\r"] = Property(
        default="\r\n", description="For other tools: each of the three ends a line, whichever is named."
    )
    comment_char: str | None = Property(
        default=None, pattern=r"^[!-~]+$", description="What a line starts with that is a comment, and no row."
    )
