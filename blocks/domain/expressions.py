"""Regular expressions in RE2's syntax that people set."""


def whole(expression: str) -> str:
    """The expression that matches what the given one matches from end to end."""
    return rf"\A(?:{expression})\z"


def check_expression(expression: str) -> str:
    r"""The expression, if it is valid alone and within `whole`, and so means the same in both.

    Alone, `a)|(b` is invalid: in the group it would end the group. In the group, `\Qa` is invalid: it would quote the
    end of the group.

    Raises:
        ValueError: it is invalid; the text says why.
    """
    import pyarrow as pa  # noqa: PLC0415 - runs that only send an email do not need it
    import pyarrow.compute as pc  # noqa: PLC0415

    for form in (expression, whole(expression)):
        try:
            pc.match_substring_regex(pa.array([""]), form)
        except pa.ArrowInvalid as error:
            raise ValueError(f"not an RE2 expression: {error}") from error
    return expression
