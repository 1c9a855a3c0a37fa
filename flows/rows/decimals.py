"""Decimal numbers as text in the forms that DynamoDB stores exactly, without floats."""

import re
from decimal import Decimal

# Source: "Naming rules and data types", Number, in the Amazon DynamoDB developer guide: up to 38 digits of precision,
# 1E-130 to 9.9999999999999999999999999999999999999E+125, and negative likewise.
DYNAMODB_DIGITS = 38
DYNAMODB_MAGNITUDES = range(-130, 126)

PLAIN_DECIMAL = r"-?\d{1,19}(?:\.\d{1,19})?(?:[eE][+-]?\d{1,2})?"
"""RE2 expression for decimals that DynamoDB takes unchanged: with at most 38 digits and exponents up to 99 they are
within its limits. Forms that its documentation does not show, such as `+5`, `.5` and `1.`, do not match."""

DECIMAL = r"([+-]?)(?:([0-9]+)(?:\.([0-9]*))?|\.([0-9]+))(?:[eE]([+-]?[0-9]+))?"
"""Expression, for RE2 and Python, for all decimals that a file may hold: `10.10`, `+5`, `.5`, `1.`, `1e3`; not `1_000`,
`0x10` or `nan`."""

_PARTS = re.compile(DECIMAL)
_EXPONENT_DIGITS = 9  # a longer exponent is out of range: no line has enough digits to compensate for it


def dynamodb_number(text: str) -> str | None:
    """The number as text that DynamoDB takes; None if DynamoDB cannot store it exactly, or if the text is no decimal.

    Leading and trailing zeros do not count as digits, as they do not change the number.
    """
    if not (match := _PARTS.fullmatch(text)):
        return None
    sign, whole, fraction, bare_fraction, exponent = (part or "" for part in match.groups())
    fraction += bare_fraction
    digits = (whole + fraction).lstrip("0")
    significant = digits.rstrip("0")
    if not significant:
        return "0"
    if len(significant) > DYNAMODB_DIGITS or len(exponent.lstrip("+-0")) > _EXPONENT_DIGITS:
        return None
    # Through Decimal: Python's int() takes no text of more than 4,300 digits, be they zeros.
    power = int(Decimal(exponent or "0")) - len(fraction) + len(digits) - len(significant)
    if power + len(significant) - 1 not in DYNAMODB_MAGNITUDES:
        return None
    return str(Decimal(f"{sign}{significant}E{power}"))


CANONICAL = r"(?:0|-?[1-9][0-9]{0,18}|-?(?:0|[1-9][0-9]{0,18})\.[0-9]{0,18}[1-9])"
"""Expression, for RE2 and Python, for the decimals that `canonical_number` returns unchanged."""

_CANONICAL = re.compile(CANONICAL)


def canonical_number(text: str) -> str | None:
    """As `dynamodb_number`, with one text for each number: `10`, `10.0` and `1e1` are `10`."""
    if (stored := dynamodb_number(text)) is None:
        return None
    plain = format(Decimal(stored), "f")
    return plain if _CANONICAL.fullmatch(plain) else stored
