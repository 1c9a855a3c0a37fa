"""The contract of feeds once more, as plainly as it can be said and slowly: what the fast code is held against."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow, Subnormal
from typing import Any

from blocks.domain.feed.descriptor import Feed, Field
from flows.rows import ValidationSettings

# DynamoDB's numbers: 38 digits, 1E-130 to 9.99…E+125. What would not be exact, or not in range, is an error.
DYNAMODB = Context(prec=38, Emin=-130, Emax=125, traps=[Inexact, InvalidOperation, Overflow, Subnormal])
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BILLION = 10**9

Item = dict[str, Any]


@dataclass
class Outcome:
    lines: int = 0
    header: int = 0
    blank: int = 0
    good: int = 0
    rejects: list[tuple[int, str]] = field(default_factory=list)
    items: dict[tuple[Any, ...], Item] = field(default_factory=dict)
    """By key, in the order of their lines."""

    @property
    def readings(self) -> dict[tuple[Any, ...], Any]:
        """The last attribute of each item, by the key."""
        return {key: list(item.values())[-1] for key, item in self.items.items()}


class BrokenRuleError(Exception):
    pass


class RefusedFileError(Exception):
    pass


def plain_outcome(content: bytes, rules: ValidationSettings) -> Outcome:
    """What becomes of a file that is text.

    Raises:
        RefusedFileError: its header does not name the columns.
    """
    outcome, feed = Outcome(), rules.feed
    columns: list[str | None] = []
    comment = feed.dialect.comment_char
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").splitlines(), start=1):
        first = outcome.lines == outcome.blank
        outcome.lines += 1
        if not line.strip(b" \t") or (comment and line.startswith(comment.encode())):
            outcome.blank += 1
            continue
        if first:
            is_header, columns = columns_of(line, rules)
            outcome.header = int(is_header)
            if is_header:
                continue
        try:
            item = row(line, columns, rules)
        except BrokenRuleError as broken:
            outcome.rejects.append((number, str(broken)))
        else:
            outcome.good += 1
            key = tuple(item[name] for name in feed.table_schema.primary_key)
            outcome.items.pop(key, None)  # so that the last one stands where it is in the file
            outcome.items[key] = item
    return outcome


def fields_in_lines(rules: ValidationSettings) -> list[Field]:
    return [each for each in rules.feed.table_schema.fields_ if each.name not in rules.key_values]


def columns_of(line: bytes, rules: ValidationSettings) -> tuple[bool, list[str | None]]:
    """Whether the first line is a header, and which field each column is."""
    feed, fields = rules.feed, fields_in_lines(rules)
    match, names = feed.table_schema.fields_match, [each.name for each in fields]
    if len(line) > rules.max_line_bytes:
        if feed.dialect.header:
            raise RefusedFileError
        return False, [*names]
    texts = split(line.decode("utf-8", "replace"), feed)
    found = [next((name for name in names if name.lower() == text.lower()), None) for text in texts]
    known = [name for name in found if name]
    others = [text for text, name in zip(texts, found, strict=True) if not name and text not in rules.key_values]
    is_once = len(set(known)) == len(known)
    needed = names if match in {"exact", "equal", "subset"} else [each.name for each in fields if needs(each, feed)]
    in_order = found == names or match != "exact"
    if feed.dialect.header:
        fits = (
            in_order and is_once and known and {*needed} <= {*known} and (not others or match in {"subset", "partial"})
        )
        if not fits:
            raise RefusedFileError
        return True, found
    if is_once and {*names} == {*known} and (len(found) == len(names) or match in {"subset", "partial"}):
        if not in_order:
            raise RefusedFileError
        return True, found
    if match in {"subset", "partial"} and len(texts) > len(names):
        return False, [*names, *([None] * (len(texts) - len(names)))]
    if match in {"superset", "partial"} and len(texts) < len(names):
        return False, [*names[: len(texts)]]
    return False, [*names]


def needs(described: Field, feed: Feed) -> bool:
    return bool(described.constraints.required) or described.name in feed.table_schema.primary_key


def row(line: bytes, columns: list[str | None], rules: ValidationSettings) -> Item:
    require(len(line) <= rules.max_line_bytes, "field_count")
    require(b"\x00" not in line, "encoding")
    try:
        texts = split(line.decode(), rules.feed)
    except UnicodeDecodeError:
        raise BrokenRuleError("encoding") from None
    require(len(texts) == len(columns), "field_count")
    by_name = dict(zip(columns, texts, strict=True)) | dict(rules.key_values)
    item = {}
    for described in rules.feed.table_schema.fields_:
        value = stored(described, by_name.get(described.name), rules)
        if value is not None:
            item[described.name] = value
    return item


def stored(described: Field, text: str | None, rules: ValidationSettings) -> Any:  # noqa: ANN401 - a text, number or boolean
    """The value as it is in the table; None if it is missing."""
    name, constraints, schema = described.name, described.constraints, rules.feed.table_schema
    is_key = name in schema.primary_key
    missing = schema.missing_values if described.missing_values is None else described.missing_values
    if text is None or text in missing or (is_key and not text):
        require(not needs(described, rules.feed), name)
        return None
    if constraints.pattern is not None:
        require(re.fullmatch(constraints.pattern, text, re.ASCII), name)
    value, in_range = typed(described, text, rules)
    require(in_range, f"{name}_range")
    if constraints.enum is not None:
        in_points = described.model_copy(update={"decimal_char": ".", "group_char": None})
        accepted = [typed(in_points, str(each), rules)[0] for each in constraints.enum]
        require(value in accepted, name)
    return value


def typed(described: Field, text: str, rules: ValidationSettings) -> tuple[Any, bool]:
    """The value as it is in the table, and whether it is within its bounds."""
    constraints, key = described.constraints, rules.feed.table_schema.primary_key
    if described.type == "string":
        least, most = constraints.min_length or 0, constraints.max_length
        fits = least <= len(text) and (most is None or len(text) <= most)
        limit = (2048, 1024)[key.index(described.name)] if described.name in key else 400 * 1024
        require(len(text.encode()) <= limit, described.name)
        return text, fits
    if described.type == "boolean":
        require(text in {*described.true_values, *described.false_values}, described.name)
        return text in described.true_values, True
    if described.type in {"integer", "number"}:
        return number(described, text)
    return instant_or_day(described, text, rules)


def number(described: Field, text: str) -> tuple[Decimal, bool]:
    text = text.replace(described.group_char, "") if described.group_char else text
    if described.type == "number" and described.decimal_char != ".":
        require("." not in text, described.name)
        text = text.replace(described.decimal_char, ".")
    form = r"[+-]?[0-9]+" if described.type == "integer" else r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
    require(re.fullmatch(form, text), described.name)
    try:
        value = DYNAMODB.create_decimal(number_in(text))
    except (Inexact, InvalidOperation, Overflow, Subnormal):
        return Decimal("NaN"), False
    low, high = described.constraints.minimum, described.constraints.maximum
    return value, (low is None or Decimal(str(low)) <= value) and (high is None or value <= Decimal(str(high)))


def number_in(text: str) -> Decimal:
    """The number that a decimal denotes; a zero with an exponent that no `Decimal` holds is zero all the same."""
    significand = text.lower().partition("e")[0]
    return Decimal(text) if Decimal(significand) else Decimal(0)


def instant_or_day(described: Field, text: str, rules: ValidationSettings) -> tuple[Any, bool]:
    nanoseconds = nanoseconds_in(described, text)
    constraints, storage = described.constraints, rules.feed.storage.datetime
    last = 253_402_300_800 * BILLION - 1
    if constraints.maximum is not None:
        last = min(last, nanoseconds_in(described, str(constraints.maximum)))
    elif described.type == "datetime" and described.name in rules.feed.table_schema.primary_key:
        last = (rules.starts_at() + 86_400) * BILLION
    first = -62_135_596_800 * BILLION
    if constraints.minimum is not None:
        first = nanoseconds_in(described, str(constraints.minimum))
    if not first <= nanoseconds <= last:
        return None, False
    seconds, rest = divmod(nanoseconds, BILLION)
    day = EPOCH + timedelta(seconds=seconds)
    if described.type == "date":
        return f"{day:%Y}".zfill(4) + f"{day:-%m-%d}", True
    if storage == "epoch-seconds":
        return Decimal(nanoseconds).scaleb(-9, Context(prec=60)), True
    if storage == "epoch-milliseconds":
        return Decimal(nanoseconds).scaleb(-6, Context(prec=60)), True
    has_fraction = described.format == "default" or "%f" in described.format
    digits = 3 if described.format == "epoch-milliseconds" else 6 if has_fraction else 0
    fraction = f".{rest:09d}"[: digits + 1] if digits else ""
    return f"{day:%Y}".zfill(4) + f"{day:-%m-%dT%H:%M:%S}{fraction}Z", rest % 10 ** (9 - digits) == 0


def nanoseconds_in(described: Field, text: str) -> int:
    """The instant that a text denotes, in nanoseconds since 1970; no offset means UTC."""
    if described.format in {"epoch", "epoch-milliseconds"}:
        require(re.fullmatch("[0-9]+", text), described.name)
        return min(Decimal(text), Decimal(10**18)).__int__() * (BILLION if described.format == "epoch" else 10**6)
    require(text.isascii(), described.name)
    pattern, cut, further = described.format, text, ""
    if described.format == "default":
        strict = r"\d{4}-\d\d-\d\d"
        if described.type == "datetime":
            strict += r"T\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:?\d\d)?"
        require(re.fullmatch(strict, text, re.ASCII), described.name)
        pattern = "%Y-%m-%d"
        if described.type == "datetime":
            pattern += (
                "T%H:%M:%S" + (".%f" if "." in text else "") + ("%z" if re.search("(Z|[+-]..:?..)$", text[11:]) else "")
            )
    if long := re.search(r"\.([0-9]{6})([0-9]{1,3})(?![0-9])", text) if "%f" in pattern else None:
        cut, further = text[: long.start(2)] + text[long.end(2) :], long.group(2)
    try:
        read = datetime.strptime(cut, pattern)  # noqa: DTZ007 - the next line adds the zone
        read = read if read.tzinfo else read.replace(tzinfo=UTC)
        since = read - EPOCH
    except (ValueError, OverflowError):
        raise BrokenRuleError(described.name) from None
    microseconds = (since.days * 86_400 + since.seconds) * 10**6 + since.microseconds
    return microseconds * 1000 + int(further.ljust(3, "0"))


def split(text: str, feed: Feed) -> list[str]:
    delimiter, quote = feed.dialect.delimiter, feed.dialect.quote_char
    blanks = " \t".replace(delimiter, "")
    found = quoted_fields(text, delimiter, quote, blanks) if quote else None
    return found or [part.strip(blanks) for part in text.split(delimiter)]


def quoted_fields(text: str, delimiter: str, quote: str, blanks: str) -> list[str] | None:
    """The fields, if every quote encloses a whole field; None if one does not."""
    found = []
    rest = f"{text}{delimiter}"
    while rest:
        rest = rest.lstrip(blanks)
        if rest.startswith(quote):
            enclosed, rest = unquoted(rest[1:], quote)
            between, end, rest = rest.partition(delimiter)
            if not end or between.strip(blanks):
                return None
        else:
            enclosed, _, rest = rest.partition(delimiter)
            if quote in enclosed:
                return None
        found.append(enclosed.strip(blanks))
    return found


def unquoted(rest: str, quote: str) -> tuple[str, str]:
    """What stands before the closing quote, and what follows it; two quotes in a row are one that closes nothing."""
    enclosed = ""
    while True:
        part, end, rest = rest.partition(quote)
        enclosed += part
        if not end or not rest.startswith(quote):
            return enclosed, rest
        enclosed, rest = f"{enclosed}{quote}", rest[1:]


def require(kept: object, reason: str) -> None:
    if not kept:
        raise BrokenRuleError(reason)
