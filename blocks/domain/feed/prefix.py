"""The prefix of a feed: which keys it covers, and the values of fields that are in a key."""

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Self

_PARTS = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Prefix:
    """The literal texts of a prefix and the names of the fields between them: `incoming/{station}/`."""

    text: str
    fields: tuple[str, ...]
    """The names in braces, in their order."""
    literals: tuple[str, ...]
    """The texts around them: one more than there are names."""

    @classmethod
    @lru_cache(maxsize=1024)
    def parsed(cls, text: str) -> Self:
        """The prefix; whether it makes sense is checked by `problem`."""
        parts = _PARTS.split(text)
        return cls(text, tuple(parts[1::2]), tuple(parts[0::2]))

    @property
    def problem(self) -> str | None:  # noqa: PLR0911 - one for each problem
        """What is wrong with it as a text; None if nothing is."""
        if self.text.startswith("/"):
            return "it starts with a slash: the keys of objects do not"
        if not self.text.isprintable():
            return "it has a character that cannot be printed"
        if any("{" in each or "}" in each for each in self.literals):
            return "a brace has no counterpart"
        if self.fields and not self.literals[-1]:
            return f"nothing follows {{{self.fields[-1]}}}, so it is open where its value ends"
        if not all(self.literals[1:-1]):
            return "there is nothing between two fields, so it is open where the first one ends"
        if len({*self.fields}) < len(self.fields):
            return "it names a field twice"
        return None

    @property
    def fixed(self) -> str:
        """The part before the first field: objects of the feed are listed under it."""
        return self.literals[0]

    @property
    def shape(self) -> str:
        """The prefix without the names of its fields: two prefixes of one shape cover the same keys."""
        return "{}".join(self.literals)

    def values(self, key: str) -> tuple[int, dict[str, str]] | None:
        """The number of characters of the key that it covers, and the texts of its fields; None for other keys.

        A value has no slash. It ends where the text that follows it in the prefix begins for the first time.
        """
        if not (match := self._expression.match(key)):
            return None
        return match.end(), dict(zip(self.fields, match.groups(), strict=True))

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        return re.compile("([^/]+?)".join(map(re.escape, self.literals)))
