"""The rules about the fields of a row, compiled from a feed, each checked for all rows of a block together."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from blocks.domain.feed.descriptor import Field
from blocks.dynamodb.attributes import attribute
from flows.rows.arrays import Mask, filter_rows, full_match, to_integers, to_mask
from flows.rows.field_types import type_of
from flows.rows.reasons import ITEM_SIZE, VALID, ReasonCodes, Reasons
from flows.rows.settings import RefusedError, ValidationSettings
from flows.rows.types.parsed import FieldType, Parsed, all_of

# Source: "Service, account, and table quotas" and "Item sizes and formats" in the Amazon DynamoDB developer guide.
ITEM_BYTES = 400 * 1024
_NUMBER_BYTES = 21
_LONGEST_DATETIME = 27


class FieldRule:
    """Checks one field: whether it may be missing, its type, and its constraints."""

    def __init__(self, field: Field, field_type: FieldType, missing_values: Sequence[str], *, is_key: bool) -> None:
        self.name, self.type = field.name, field_type
        self.is_required = is_key or bool(field.constraints.required)
        self._pattern = field.constraints.pattern
        # A key cannot be an empty string, whatever the feed says; "Naming rules and data types", the same guide.
        self._missing = tuple({*missing_values, ""} if is_key else missing_values)
        self.enum: pa.Array | None = None
        if field.constraints.enum is not None:
            self.enum = field_type.parse(pa.array([_text(value, field) for value in field.constraints.enum])).values

    def check(self, texts: pa.StringArray) -> Parsed:
        """The stored values, null where they are missing; and which rows break no rule about the field."""
        missing = self._is_missing(texts)
        if not missing.any():
            return self._check_present(texts)
        parsed = self._check_present(texts.filter(pa.array(~missing)))
        typed, in_range = all_of(texts, value=not self.is_required), all_of(texts)
        typed[~missing], in_range[~missing] = parsed.typed, parsed.in_range
        nulls = pa.nulls(len(texts), self.type.column_type)
        return Parsed(pc.replace_with_mask(nulls, pa.array(~missing), parsed.values), typed, in_range)

    def _check_present(self, texts: pa.StringArray) -> Parsed:
        values, typed, in_range = self.type.parse(texts)
        if self._pattern is not None:
            typed = typed & full_match(texts, self._pattern)
        if self.enum is not None:
            typed = typed & (to_mask(pc.is_in(values, self.enum)) | ~in_range)
        return Parsed(values, typed, in_range)

    def _is_missing(self, texts: pa.StringArray) -> Mask:
        if texts.null_count:  # the file has no such column
            return all_of(texts)
        if self._missing == ("",):
            sizes = to_integers(pc.binary_length(texts))
            return cast("Mask", sizes == 0)
        return to_mask(pc.is_in(texts, pa.array(self._missing, pa.string())))


class RowRules:
    """The rules of a feed for the rows of one file. The latest instant is the same for all rows."""

    def __init__(self, settings: ValidationSettings) -> None:
        """Compile the rules.

        Raises:
            RefusedError: a field from the object's key breaks a rule.
        """
        feed, key_values = settings.feed, settings.key_values
        table_schema = feed.table_schema
        key = table_schema.primary_key
        rules = [
            FieldRule(
                field,
                type_of(field, feed.storage, key, now=settings.starts_at()),
                table_schema.missing_values if field.missing_values is None else field.missing_values,
                is_key=field.name in key,
            )
            for field in table_schema.fields_
        ]
        self.by_name = {rule.name: rule for rule in rules}
        self.fields = [rule for rule in rules if rule.name not in key_values]
        self.reasons = Reasons(tuple(rule.name for rule in self.fields))
        self.constants = {
            rule.name: _constant(rule, key_values[rule.name]) for rule in rules if rule.name in key_values
        }
        self.key = key
        self.schema = pa.schema([_column(rule, key) for rule in rules])
        self.stored_schema = pa.schema([_column(rule, key) for rule in self.fields])
        names = sum(len(name.encode()) for name in self.by_name)
        self._fixed_bytes = names + sum(map(len, key_values.values()))
        longest = self._fixed_bytes + settings.max_line_bytes + len(rules) * _LONGEST_DATETIME
        self._can_be_too_large = longest > ITEM_BYTES

    @property
    def names(self) -> list[str]:
        """The fields of a line, in the order of the schema."""
        return [rule.name for rule in self.fields]

    def validate(self, fields: pa.RecordBatch) -> tuple[ReasonCodes, pa.RecordBatch]:
        """A code for each row, `VALID` or that of the first rule it breaks; and the valid rows as they are stored.

        Columns of `fields`: `names`, all text. Columns of the valid rows: `stored_schema`.
        """
        parsed = [rule.check(fields[rule.name]) for rule in self.fields]
        valid = np.ones(len(fields), np.bool_)
        for _, typed, in_range in parsed:
            valid &= typed
            valid &= in_range
        codes = np.zeros(len(fields), np.int16)
        if not valid.all():
            codes[~valid] = self._first_broken_rules(parsed, ~valid)
        rows = pa.RecordBatch.from_arrays([each.values for each in parsed], schema=self.stored_schema)
        rows = filter_rows(rows, valid)
        if self._can_be_too_large:
            fits = self._fits(rows)
            codes[np.flatnonzero(valid)[~fits]] = ITEM_SIZE
            rows = filter_rows(rows, fits)
        return codes, rows

    def _first_broken_rules(self, parsed: Sequence[Parsed], broken: Mask) -> ReasonCodes:
        """The code of the first broken rule of each row that breaks one."""
        conditions, codes = [], []
        for rule, (_, typed, in_range) in zip(self.fields, parsed, strict=True):
            conditions += [~typed[broken], ~in_range[broken]]
            codes += [self.reasons.of_type(rule.name), self.reasons.of_range(rule.name)]
        return np.select(conditions, codes, VALID).astype(np.int16)

    def _fits(self, rows: pa.RecordBatch) -> Mask:
        """Which rows are items that DynamoDB takes; numbers count as the longest ones."""
        sizes = np.full(len(rows), self._fixed_bytes, np.int64)
        for rule, column in zip(self.fields, rows.columns, strict=True):
            if rule.type.attribute_type == "S":
                sizes += to_integers(pc.fill_null(pc.binary_length(column), 0))
            else:
                sizes += _NUMBER_BYTES
        return sizes <= ITEM_BYTES


def _constant(rule: FieldRule, text: str) -> pa.Scalar:
    """The stored value of a field from the object's key."""
    [value], [typed], [in_range] = rule.check(pa.array([text], pa.string()))
    if not typed or not in_range:
        raise RefusedError(f"lies under a key whose {rule.name} is {text!r}, which {rule.name} cannot be")
    return value


def _column(rule: FieldRule, key: Sequence[str]) -> pa.Field:
    return attribute(rule.name, rule.type.attribute_type, rule.type.column_type, key=rule.name in key)


def _text(value: object, field: Field) -> str:
    """A value of the enum as text in the form of the field; that of a number has a point in the feed."""
    return str(value).replace(".", field.decimal_char) if field.type == "number" else str(value)
