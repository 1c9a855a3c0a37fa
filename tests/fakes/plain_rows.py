"""The file contract once more, as plainly as it can be said and slowly: what the fast code is held against."""

import re
from dataclasses import dataclass, field
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow, Subnormal

from flows.rows import COLUMNS, ValidationSettings

# DynamoDB's numbers: 38 digits, 1E-130 to 9.99…E+125. What would not be exact, or not in range, is an error.
DYNAMODB = Context(prec=38, Emin=-130, Emax=125, traps=[Inexact, InvalidOperation, Overflow, Subnormal])


@dataclass
class Outcome:
    lines: int = 0
    header: int = 0
    blank: int = 0
    good: int = 0
    rejects: list[tuple[int, str]] = field(default_factory=list)
    readings: dict[tuple[str, int], Decimal] = field(default_factory=dict)


class BrokenRuleError(Exception):
    pass


def plain_outcome(content: bytes, rules: ValidationSettings) -> Outcome:
    outcome = Outcome()
    names = list(COLUMNS)
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").splitlines(), start=1):
        first = outcome.lines == outcome.blank
        outcome.lines += 1
        if not line.strip(b" \t"):
            outcome.blank += 1
        elif first and (found := header(line, rules)):
            outcome.header, names = 1, found
        else:
            try:
                sensor_id, timestamp, value = row(line, names, rules)
            except BrokenRuleError as broken:
                outcome.rejects.append((number, str(broken)))
            else:
                outcome.good += 1
                outcome.readings.pop(
                    (sensor_id, timestamp), None
                )  # so that the last one stands where it is in the file
                outcome.readings[sensor_id, timestamp] = value
    return outcome


def header(line: bytes, rules: ValidationSettings) -> list[str] | None:
    try:
        names = [name.lower() for name in fields(line, rules)]
    except BrokenRuleError:
        return None
    return names if set(names) == set(COLUMNS) and len(names) == len(COLUMNS) else None


def row(line: bytes, names: list[str], rules: ValidationSettings) -> tuple[str, int, Decimal]:
    found = fields(line, rules)
    require(len(found) == len(names), "field_count")
    sensor_id, timestamp, value = (found[names.index(name)] for name in COLUMNS)
    require(0 < len(sensor_id.encode()) <= 2048, "sensor_id")
    require(re.fullmatch(rules.sensor_id_pattern, sensor_id, re.ASCII), "sensor_id")
    require(re.fullmatch("[0-9]+", timestamp), "timestamp")
    require(rules.earliest <= int(timestamp) <= rules.last_second(), "timestamp_range")
    require(re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", value), "value")
    try:
        return sensor_id, int(timestamp), DYNAMODB.create_decimal(number_in(value))
    except (Inexact, InvalidOperation, Overflow, Subnormal):
        raise BrokenRuleError("value_range") from None


def number_in(text: str) -> Decimal:
    """The number that a decimal denotes; a zero with an exponent that no `Decimal` holds is zero all the same."""
    significand = text.lower().partition("e")[0]
    return Decimal(text) if Decimal(significand) else Decimal(0)


def fields(line: bytes, rules: ValidationSettings) -> list[str]:
    require(len(line) <= rules.max_line_bytes, "field_count")
    require(b"\x00" not in line, "encoding")
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise BrokenRuleError("encoding") from None
    return quoted_fields(text) or [part.strip(" \t") for part in text.split(",")]


def quoted_fields(text: str) -> list[str] | None:
    """The fields, if every quote encloses a whole field; None if one does not."""
    found = []
    rest = f"{text},"
    while rest:
        rest = rest.lstrip(" \t")
        if rest.startswith('"'):
            enclosed, rest = unquoted(rest[1:])
            between, comma, rest = rest.partition(",")
            if not comma or between.strip(" \t"):
                return None
        else:
            enclosed, _, rest = rest.partition(",")
            if '"' in enclosed:
                return None
        found.append(enclosed.strip(" \t"))
    return found


def unquoted(rest: str) -> tuple[str, str]:
    """What stands before the closing quote, and what follows it; two quotes in a row are one that closes nothing."""
    enclosed = ""
    while True:
        part, quote, rest = rest.partition('"')
        enclosed += part
        if not quote or not rest.startswith('"'):
            return enclosed, rest
        enclosed, rest = f'{enclosed}"', rest[1:]


def require(kept: object, reason: str) -> None:
    if not kept:
        raise BrokenRuleError(reason)
