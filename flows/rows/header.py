"""Which fields the columns of a file are, by its first line."""

from collections.abc import Sequence

from blocks.domain.feed.descriptor import Feed
from flows.rows.rules import RowRules
from flows.rows.settings import RefusedError

Columns = tuple[str | None, ...]
"""The field of each column; None for a column that is no field."""

SHOWN_NAMES = 10

DELIMITERS = ("\t", ";", "|", ",")
"""What may separate fields if the feed does not know it. The comma is last: beside others it may be a decimal comma."""


class FileColumns:
    """The columns that files of a feed may have. A header decides their order; without one it is that of the schema."""

    def __init__(self, feed: Feed, rules: RowRules) -> None:
        self._dialect = feed.dialect
        self._has_header, self._match = feed.dialect.header, feed.table_schema.fields_match
        self._fields = tuple(rules.names)
        self._required = [rule.name for rule in rules.fields if rule.is_required]
        self._not_in_lines = set(rules.constants)
        folded = {name.casefold(): name for name in self._fields}
        self._by_name = folded if len(folded) == len(self._fields) else {name: name for name in self._fields}

    def of_first_line(self, line: Sequence[str] | None) -> tuple[bool, Columns]:
        """Whether the first line of a file is its header, and the columns of the file; None is a line that is too long.

        Raises:
            RefusedError: the line is a header, or the feed says so, and its names are not as `fieldsMatch` wants them.
        """
        if line is None:
            if self._has_header:
                raise RefusedError("its first line is the header, and longer than a line may be")
            return False, self._fields
        columns = tuple(map(self._field, line))
        found = [name for name in columns if name]
        is_complete = len(set(found)) == len(found) == len(self._fields)
        if self._has_header:
            self._check(line, columns)
            return True, columns
        if is_complete and (len(columns) == len(found) or self._match in {"subset", "partial"}):
            self._check(line, columns)
            return True, columns
        return False, self._in_order(len(line))

    def _field(self, name: str) -> str | None:
        return self._by_name.get(name) or self._by_name.get(name.casefold())

    def _in_order(self, count: int) -> Columns:
        """The columns of a file without a header whose first line has so many fields."""
        others = count - len(self._fields)
        if others > 0 and self._match in {"subset", "partial"}:
            return self._fields + (None,) * others
        if others < 0 and self._match in {"superset", "partial"}:
            return self._fields[:count]
        return self._fields

    def _check(self, line: Sequence[str], columns: Columns) -> None:
        """Compare a header with the fields, as `fieldsMatch` of the Table Schema standard, v2, says."""
        found = [name for name in columns if name]
        others = [
            name for name, field in zip(line, columns, strict=True) if not field and name not in self._not_in_lines
        ]
        missing = [name for name in self._fields if name not in found]
        if self._match in {"superset", "partial"}:
            missing = [name for name in missing if name in self._required]
        problem = ""
        if len(set(found)) < len(found):
            problem = f"names {_shown([name for name in self._fields if found.count(name) > 1])} more than once"
        elif not found:
            problem = f"names none of the fields{self._by_another_delimiter(line)}"
        elif missing:
            problem = f"does not name {_shown(missing)}"
        elif others and self._match not in {"subset", "partial"}:
            problem = f"names {_shown(others)}, which the feed does not have"
        elif self._match == "exact" and columns != self._fields:
            problem = f"does not name {_shown(self._fields)} in this order"
        if problem:
            raise RefusedError(f"its first line is the header, and {problem}; fieldsMatch is {self._match}")

    def _by_another_delimiter(self, line: Sequence[str]) -> str:
        """What to do if another delimiter separates names of fields in the line; nothing if none does."""
        text, quote = self._dialect.delimiter.join(line), self._dialect.quote_char or ""
        named = {
            other: sum(self._field(name.strip().strip(quote)) is not None for name in text.split(other))
            for other in DELIMITERS
        }
        best = max(named, key=lambda other: named[other])
        if named[best] <= 1:
            return ""
        return f" (separated by {best!r} it names {named[best]}; dialect.delimiter is {self._dialect.delimiter!r})"


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
    return ", ".join(repr(name[:100]) for name in names[:SHOWN_NAMES]) + more
