"""DynamoDB's expressions: conditions, key conditions and updates, compiled once into functions.

Source: "Comparison operator and function reference" and "Using update expressions in DynamoDB", Amazon DynamoDB
developer guide.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, Protocol, TypeVar

Value = Mapping[str, Any]
"""A value with its type, such as {"S": "text"}."""
Item = dict[str, Value]

_TOKEN: Final = re.compile(r"\s*(?:([#:]?\w+)|(<>|<=|>=|[=<>()\[\].,+-]))")
_COMPARATORS: Final = ("=", "<>", "<", "<=", ">", ">=")
T = TypeVar("T")


class InvalidExpressionError(ValueError):
    """DynamoDB refuses the expression with a ValidationException."""


@dataclass(frozen=True, slots=True)
class Context:
    """What an expression is evaluated with."""

    item: Mapping[str, Value]
    names: Mapping[str, str]
    values: Mapping[str, Value]


Operand = Callable[[Context], Value | None]
Condition = Callable[[Context], bool]
Path = tuple[str | int, ...]
"""Attribute name or placeholder, then names and list positions inside it."""


class Expression(Protocol):
    """A compiled expression: the placeholders in it."""

    @property
    def placeholders(self) -> frozenset[str]: ...


@dataclass(frozen=True)
class CompiledCondition:
    """A condition, and what a key condition says about the hash key."""

    holds: Condition
    placeholders: frozenset[str]
    equalities: tuple[tuple[str, str], ...]
    """Attribute and value of comparisons with `=` that must all hold."""


@dataclass(frozen=True)
class Change:
    """One clause of an update: SET, REMOVE, ADD or DELETE of one path."""

    action: str
    path: Path
    value: Operand


@dataclass(frozen=True)
class CompiledUpdate:
    """All clauses of an update expression."""

    changes: tuple[Change, ...]
    placeholders: frozenset[str]


@lru_cache(maxsize=512)
def condition(text: str) -> CompiledCondition:
    """The compiled condition.

    Raises:
        InvalidExpressionError: it is none.
    """
    parser = _Parser(text)
    holds = parser.alternatives()
    parser.expect_end()
    equalities = () if parser.uncertain else tuple(parser.equalities)
    return CompiledCondition(holds, frozenset(parser.placeholders), equalities)


@lru_cache(maxsize=512)
def update(text: str) -> CompiledUpdate:
    """The compiled update expression.

    Raises:
        InvalidExpressionError: it is none.
    """
    parser = _Parser(text)
    changes = tuple(parser.changes())
    return CompiledUpdate(changes, frozenset(parser.placeholders))


@lru_cache(maxsize=512)
def paths(text: str) -> tuple[tuple[Path, ...], frozenset[str]]:
    """The paths of a projection expression, and the placeholders in it."""
    parser = _Parser(text)
    found = [parser.path()]
    while parser.takes(","):
        found.append(parser.path())
    parser.expect_end()
    return tuple(found), frozenset(parser.placeholders)


def comparable(value: Value) -> Any:  # noqa: ANN401 - text, number, bytes or anything that can only be equal
    """What values of one type are compared by."""
    ((kind, content),) = value.items()
    return _number(content) if kind == "N" else content


def resolved(path: Path, names: Mapping[str, str]) -> Path:
    """The path with attribute names instead of placeholders."""
    return tuple(names[part] if isinstance(part, str) and part[0] == "#" else part for part in path)


def found_at(path: Path, context: Context) -> Value | None:
    """The value at the path in the item."""
    name = path[0]
    assert isinstance(name, str)
    value = context.item.get(context.names[name] if name[0] == "#" else name)
    for part in path[1:]:
        if value is None:
            return None
        value = _inside(value, part, context.names)
    return value


def _inside(value: Value, part: str | int, names: Mapping[str, str]) -> Value | None:
    if isinstance(part, int):
        members = value.get("L", ())
        found: Value | None = members[part] if part < len(members) else None
        return found
    inner: Value | None = value.get("M", {}).get(names[part] if part[0] == "#" else part)
    return inner


@lru_cache(maxsize=4096)
def _number(text: str) -> Decimal:
    return Decimal(text)


@dataclass
class _Parser:
    """Recursive descent over the tokens of one expression."""

    text: str
    tokens: list[str] = field(default_factory=list)
    position: int = 0
    placeholders: set[str] = field(default_factory=set)
    equalities: list[tuple[str, str]] = field(default_factory=list)
    uncertain: bool = False
    """Whether there is an OR or a NOT, so that no single comparison must hold."""

    def __post_init__(self) -> None:
        position = 0
        text = self.text.rstrip()
        while position < len(text):
            found = _TOKEN.match(text, position)
            if not found:
                raise InvalidExpressionError(f"Syntax error; token: {text[position : position + 10]!r}")
            self.tokens.append(found[1] or found[2])
            position = found.end()

    # ---- Conditions -----------------------------------------------------------------------------------------------

    def alternatives(self) -> Condition:
        parts = [self.conjunction()]
        while self.takes("OR"):
            parts.append(self.conjunction())
        if len(parts) == 1:
            return parts[0]
        self.uncertain = True
        return lambda context: any(part(context) for part in parts)

    def conjunction(self) -> Condition:
        parts = [self.negation()]
        while self.takes("AND"):
            parts.append(self.negation())
        return parts[0] if len(parts) == 1 else lambda context: all(part(context) for part in parts)

    def negation(self) -> Condition:
        if self.takes("NOT"):
            self.uncertain = True
            inner = self.negation()
            return lambda context: not inner(context)
        if self.takes("("):
            inner = self.alternatives()
            self.expect(")")
            return inner
        return self.comparison()

    def comparison(self) -> Condition:
        function = _TESTS.get(self.peek().lower()) if self.peek(1) == "(" else None
        if function:
            return self.test(function)
        start = self.position
        left = self.operand()
        if self.takes("BETWEEN"):
            low = self.operand()
            self.expect("AND")
            return _all_of(_comparison(">=", left, low), _comparison("<=", left, self.operand()))
        if self.takes("IN"):
            return _any_equal(left, self.arguments(self.operand))
        comparator = self.next()
        if comparator not in _COMPARATORS:
            raise InvalidExpressionError(f'Syntax error; token: "{comparator}"')
        if comparator == "=" and self.position == start + 2:
            self.equalities.append((self.tokens[start], self.peek()))
        return _comparison(comparator, left, self.operand())

    def test(self, function: Callable[[Value | None, Value | None], bool]) -> Condition:
        self.next()
        arguments = self.arguments(self.operand)
        first = arguments[0]
        if len(arguments) == 1:
            return lambda context: function(first(context), None)
        second = arguments[1]
        return lambda context: function(first(context), second(context))

    def operand(self) -> Operand:
        token = self.peek()
        if token[0] == ":":
            self.placeholders.add(self.next())
            return lambda context: context.values[token]
        if token == "size" and self.peek(1) == "(":
            self.next()
            (inner,) = self.arguments(self.operand)
            return lambda context: _size(inner(context))
        path = self.path()
        if len(path) == 1 and token[0] != "#":
            return lambda context: context.item.get(token)
        return lambda context: found_at(path, context)

    def path(self) -> Path:
        parts: list[str | int] = [self.name()]
        while True:
            if self.takes("."):
                parts.append(self.name())
            elif self.takes("["):
                parts.append(int(self.next()))
                self.expect("]")
            else:
                return tuple(parts)

    def name(self) -> str:
        token = self.next()
        if not re.match(r"[#A-Za-z_]", token):
            raise InvalidExpressionError(f'Syntax error; token: "{token}"')
        if token[0] == "#":
            self.placeholders.add(token)
        return token

    # ---- Updates --------------------------------------------------------------------------------------------------

    def changes(self) -> Iterator[Change]:
        seen: set[str] = set()
        while self.position < len(self.tokens):
            action = self.next().upper()
            if action not in ("SET", "REMOVE", "ADD", "DELETE") or action in seen:
                raise InvalidExpressionError(f'Syntax error; token: "{action}"')
            seen.add(action)
            yield self.change(action)
            while self.takes(","):
                yield self.change(action)

    def change(self, action: str) -> Change:
        path = self.path()
        if action == "REMOVE":
            return Change(action, path, lambda _: None)
        if action == "SET":
            self.expect("=")
            return Change(action, path, self.sum())
        return Change(action, path, self.operand())

    def sum(self) -> Operand:
        left = self.assigned()
        if self.takes("+"):
            right = self.assigned()
            return lambda context: added(left(context), right(context))
        if self.takes("-"):
            right = self.assigned()
            return lambda context: added(left(context), right(context), -1)
        return left

    def assigned(self) -> Operand:
        function = self.peek().lower()
        if self.peek(1) != "(" or function not in ("if_not_exists", "list_append"):
            return _existing(self.operand())
        self.next()
        first, second = self.arguments(self.operand if function == "if_not_exists" else self.assigned)
        if function == "if_not_exists":
            return lambda context: first(context) or second(context)
        return lambda context: _appended(first(context), second(context))

    # ---- Tokens ---------------------------------------------------------------------------------------------------

    def arguments(self, parse: Callable[[], T]) -> list[T]:
        self.expect("(")
        found = [parse()]
        while self.takes(","):
            found.append(parse())
        self.expect(")")
        return found

    def peek(self, ahead: int = 0) -> str:
        position = self.position + ahead
        return self.tokens[position] if position < len(self.tokens) else "<EOF>"

    def next(self) -> str:
        token = self.peek()
        self.position += 1
        return token

    def takes(self, token: str) -> bool:
        if self.peek().upper() == token:
            self.position += 1
            return True
        return False

    def expect(self, token: str) -> None:
        if not self.takes(token):
            raise InvalidExpressionError(f'Syntax error; token: "{self.peek()}", expected "{token}"')

    def expect_end(self) -> None:
        if self.position < len(self.tokens):
            raise InvalidExpressionError(f'Syntax error; token: "{self.peek()}"')


def added(left: Value | None, right: Value | None, sign: int = 1) -> Value:
    """The sum of two numbers, as a value.

    Raises:
        InvalidExpressionError: one of them is no number.
    """
    if left is None or right is None or "N" not in left or "N" not in right:
        raise InvalidExpressionError("An operand in the update expression has an incorrect data type")
    total = _number(left["N"]) + sign * _number(right["N"])
    return {"N": f"{total:f}"}


def _existing(operand: Operand) -> Operand:
    def value(context: Context) -> Value:
        found = operand(context)
        if found is None:
            raise InvalidExpressionError(
                "The provided expression refers to an attribute that does not exist in the item"
            )
        return found

    return value


def _appended(first: Value | None, second: Value | None) -> Value:
    if first is None or second is None or "L" not in first or "L" not in second:
        raise InvalidExpressionError("An operand in the update expression has an incorrect data type")
    return {"L": [*first["L"], *second["L"]]}


def _comparison(comparator: str, left: Operand, right: Operand) -> Condition:
    compare = _COMPARE[comparator]

    def holds(context: Context) -> bool:
        one, other = left(context), right(context)
        if one is None or other is None:
            return comparator == "<>"
        if one.keys() != other.keys():
            return comparator == "<>"
        return compare(comparable(one), comparable(other))

    return holds


def _all_of(one: Condition, other: Condition) -> Condition:
    return lambda context: one(context) and other(context)


def _any_equal(left: Operand, choices: list[Operand]) -> Condition:
    conditions = [_comparison("=", left, choice) for choice in choices]
    return lambda context: any(holds(context) for holds in conditions)


def _size(value: Value | None) -> Value | None:
    if value is None:
        return None
    ((_, content),) = value.items()
    return {"N": str(len(content))}


def _contains(value: Value | None, part: Value | None) -> bool:
    if value is None or part is None:
        return False
    ((kind, content),) = value.items()
    if kind == "L":
        return part in content
    return comparable(part) in content


def _begins_with(value: Value | None, prefix: Value | None) -> bool:
    if value is None or prefix is None:
        return False
    return bool(value.get("S", "").startswith(prefix["S"])) and "S" in value


_COMPARE: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": lambda one, other: bool(one == other),
    "<>": lambda one, other: bool(one != other),
    "<": lambda one, other: bool(one < other),
    "<=": lambda one, other: bool(one <= other),
    ">": lambda one, other: bool(one > other),
    ">=": lambda one, other: bool(one >= other),
}

_TESTS: Final[Mapping[str, Callable[[Value | None, Value | None], bool]]] = {
    "attribute_exists": lambda value, _: value is not None,
    "attribute_not_exists": lambda value, _: value is None,
    "attribute_type": lambda value, kind: value is not None and kind is not None and kind["S"] in value,
    "begins_with": _begins_with,
    "contains": _contains,
}
