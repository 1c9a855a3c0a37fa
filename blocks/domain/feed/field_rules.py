"""Which formats, constraints and characters a type of field can have."""

import re
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Final

from blocks.domain.expressions import check_expression
from blocks.domain.feed.dialect import Dialect
from blocks.domain.feed.faults import Fault
from blocks.domain.feed.table_schema import Field
from blocks.domain.feed.time_formats import instant_of, problem_of_format

_CONSTRAINTS: Final = {
    "string": {"pattern", "enum", "min_length", "max_length"},
    "integer": {"enum", "minimum", "maximum"},
    "number": {"enum", "minimum", "maximum"},
    "boolean": set[str](),
    "date": {"enum", "minimum", "maximum"},
    "datetime": {"enum", "minimum", "maximum"},
}
_CHARACTERS: Final = {
    "decimal_char": ("decimalChar", {"number"}),
    "group_char": ("groupChar", {"integer", "number"}),
    "true_values": ("trueValues", {"boolean"}),
    "false_values": ("falseValues", {"boolean"}),
}
_IN_NUMBERS: Final = re.compile(r"[0-9A-Za-z+\-\"\x00-\x1f]")
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)
_INTEGER: Final = re.compile(r"[+-]?[0-9]+", re.ASCII)
_LONGEST_NUMBER: Final = 200


def faults_of_field(field: Field, missing_values: Sequence[str], dialect: Dialect) -> Iterator[Fault]:
    """What contradicts itself in the field; the places start at it."""
    yield from _of_format(field)
    for name, (alias, types) in _CHARACTERS.items():
        if name in field.model_fields_set and getattr(field, name) is not None and field.type not in types:
            yield Fault(
                alias, f"is for {' and '.join(sorted(types))} fields, and this is {_a(field.type)}", "leave it out"
            )
    if field.type in ("integer", "number"):
        yield from _of_characters(field, dialect)
    if field.type == "boolean":
        yield from _of_boolean(field, missing_values)
    yield from _of_constraints(field, missing_values)


def _of_format(field: Field) -> Iterator[Fault]:
    if field.type == "date" or field.type == "datetime":  # noqa: PLR1714 - mypy narrows this form only
        if problem := problem_of_format(field.format, field.type):
            yield Fault("format", problem, "see type and format in docs/reference/feeds.md")
    elif field.format != "default":
        remedy = "leave it out, and give a constraints.pattern" if field.type == "string" else "leave it out"
        yield Fault("format", f"{_a(field.type)} has no format {field.format!r} here", remedy)


def _of_characters(field: Field, dialect: Dialect) -> Iterator[Fault]:
    for alias, character in (("decimalChar", field.decimal_char), ("groupChar", field.group_char)):
        if character and _IN_NUMBERS.match(character):
            yield Fault(alias, f"{character!r} means something else in a number", "choose a point, a comma or a space")
        elif character == dialect.delimiter and dialect.quote_char is None:
            yield Fault(
                alias, "is the delimiter too, and there are no quotes", "give dialect.quoteChar, or another one"
            )
    if field.group_char and field.group_char == field.decimal_char:
        yield Fault("groupChar", "is the decimalChar too", "choose two different characters")


def _of_boolean(field: Field, missing_values: Sequence[str]) -> Iterator[Fault]:
    if both := {*field.true_values} & {*field.false_values}:
        yield Fault("falseValues", f"{min(both)!r} means true, too", "leave it out in one of the two")
    for alias, values in (("trueValues", field.true_values), ("falseValues", field.false_values)):
        if both := {*values} & {*missing_values}:
            yield Fault(alias, f"{min(both)!r} is a missing value, too", "give the field missingValues of its own")


def _of_constraints(field: Field, missing_values: Sequence[str]) -> Iterator[Fault]:
    constraints = field.constraints
    given = {name for name in constraints.model_fields_set if getattr(constraints, name) is not None}
    for name in sorted(given - {"required"} - _CONSTRAINTS[field.type]):
        alias = type(constraints).model_fields[name].alias
        yield Fault(f"constraints.{alias}", f"{_a(field.type)} cannot have it", "leave it out, or change the type")
    given &= _CONSTRAINTS[field.type]
    if "pattern" in given:
        try:
            check_expression(constraints.pattern or "")
        except ValueError as error:
            yield Fault("constraints.pattern", str(error), "see github.com/google/re2/wiki/Syntax: no look-around")
    if {"min_length", "max_length"} <= given and (constraints.min_length or 0) > (constraints.max_length or 0):
        yield Fault("constraints.minLength", "is greater than maxLength", "exchange the two")
    if given & {"minimum", "maximum", "enum"}:
        yield from _of_values(field, given, missing_values)


def _of_values(field: Field, given: set[str], missing_values: Sequence[str]) -> Iterator[Fault]:
    """Faults in the bounds and the enumerated values: each is a value of the field's type and format."""
    constraints, value_of = field.constraints, _reader(field)
    bounds = dict[str, Decimal | Fraction | str]()
    for name in sorted(given & {"minimum", "maximum"}):
        try:
            bounds[name] = value_of(str(getattr(constraints, name)))
        except (ValueError, InvalidOperation) as error:
            yield Fault(f"constraints.{name}", _problem(error), f"give {_a(field.type)} in the field's format")
    if len(bounds) == 2 and bounds["minimum"] > bounds["maximum"]:  # type: ignore[operator] # noqa: PLR2004 - of one type
        yield Fault("constraints.minimum", "is greater than maximum", "exchange the two")
    seen = set[Decimal | Fraction | str]()
    for place, each in enumerate(constraints.enum or ()) if "enum" in given else ():
        where = f"constraints.enum[{place}]"
        try:
            value = value_of(str(each))
        except (ValueError, InvalidOperation) as error:
            yield Fault(where, _problem(error), f"give {_a(field.type)} in the field's format")
            continue
        if value in seen:
            yield Fault(where, f"{each!r} is in the list before", "leave it out")
        if str(each) in missing_values:
            yield Fault(where, f"{each!r} is a missing value, too", "leave it out here, or in missingValues")
        seen.add(value)


def _reader(field: Field) -> Callable[[str], Decimal | Fraction | str]:
    """The function from a text to the value that it denotes, for comparisons.

    A number of JSON has a point, so constraints have one, whatever the decimal character of the field is.
    """
    if field.type == "date" or field.type == "datetime":  # noqa: PLR1714 - mypy narrows this form only
        form, of_type = field.format, field.type
        if problem_of_format(form, of_type):
            return str  # it is a fault of the format, not of the bound
        return lambda text: instant_of(text, form, of_type)
    if field.type == "string":
        return str
    expression = _INTEGER if field.type == "integer" else _NUMBER

    def number(text: str) -> Decimal:
        if len(text) > _LONGEST_NUMBER or not expression.fullmatch(text):
            raise ValueError(f"{text[:_LONGEST_NUMBER]!r} is not {_a(field.type)}")
        return Decimal(text)

    return number


def _problem(error: Exception) -> str:
    return str(error) or "is no value of the field's type"


def _a(type_name: str) -> str:
    return f"{'an' if type_name == 'integer' else 'a'} {type_name}"
