"""Numbers and integers: exact decimals, as text that DynamoDB takes."""

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from blocks.dynamodb.attributes import AttributeType
from flows.rows.arrays import Mask, full_match, to_mask
from flows.rows.decimals import CANONICAL, DECIMAL, PLAIN_DECIMAL, canonical_number, dynamodb_number
from flows.rows.types.parsed import Parsed

_INTEGER = r"[+-]?[0-9]+"
_PLAIN_INTEGER = r"-?[0-9]{1,38}"


class NumberType:
    """A decimal that DynamoDB stores exactly, within bounds."""

    attribute_type: AttributeType = "N"
    column_type = pa.string()

    def __init__(
        self,
        *,
        integer: bool = False,
        decimal_char: str = ".",
        group_char: str | None = None,
        minimum: Decimal | None = None,
        maximum: Decimal | None = None,
        canonical: bool = False,
    ) -> None:
        """Take integers only if `integer`; `canonical` numbers are equal as texts if they are equal as numbers."""
        self._forms = _INTEGER if integer else DECIMAL
        self._unchanged = CANONICAL if canonical else _PLAIN_INTEGER if integer else PLAIN_DECIMAL
        self._changed = canonical_number if canonical else dynamodb_number
        self._decimal_char, self._group_char = decimal_char, group_char
        self._minimum, self._maximum = minimum, maximum

    def parse(self, texts: pa.StringArray) -> Parsed:
        texts, allowed = self._with_points(texts)
        # CANONICAL has decimals too, so an integer's form is checked as well where canonical numbers are asked for.
        typed = unchanged = full_match(texts, self._unchanged)
        if self._forms == _INTEGER and self._unchanged == CANONICAL:
            typed = unchanged = unchanged & full_match(texts, _INTEGER)
        values, storable = texts, unchanged
        if not unchanged.all():
            others = texts.filter(pa.array(~unchanged))
            of_form = full_match(others, self._forms)
            changed = pa.array(
                [self._changed(text) if good else None for text, good in zip(others.to_pylist(), of_form, strict=True)],
                pa.string(),
            )
            typed, storable = unchanged.copy(), unchanged.copy()
            typed[~unchanged], storable[~unchanged] = of_form, to_mask(changed.is_valid())
            if (storable != unchanged).any():
                values = pc.replace_with_mask(texts, pa.array(~unchanged), changed)
        return Parsed(values, typed & allowed, self._within_bounds(values, storable & allowed))

    def _with_points(self, texts: pa.StringArray) -> tuple[pa.StringArray, Mask | np.bool_]:
        """The numbers with decimal points and without group characters; and which texts have none of another form."""
        allowed: Mask | np.bool_ = np.True_
        if self._group_char:
            texts = pc.replace_substring(texts, self._group_char, "")
        if self._decimal_char != ".":
            allowed = ~to_mask(pc.match_substring(texts, "."))
            texts = pc.replace_substring(texts, self._decimal_char, ".")
        return texts, allowed

    def _within_bounds(self, values: pa.StringArray, storable: Mask) -> Mask:
        """Which of the storable values are within the bounds.

        Rounding to the nearest float keeps the order of numbers, so floats decide unless they are equal to a bound.
        """
        if self._minimum is None and self._maximum is None:
            return storable
        texts = values if storable.all() else pc.if_else(pa.array(storable), values, "0")
        floats = texts.cast(pa.float64()).to_numpy()
        kept = storable.copy()
        for bound, above in ((self._minimum, True), (self._maximum, False)):
            if bound is None:
                continue
            nearest = float(bound)
            kept &= floats >= nearest if above else floats <= nearest
            for index in np.flatnonzero(kept & (floats == nearest)).tolist():
                value = Decimal(values[index].as_py())
                kept[index] = value >= bound if above else value <= bound
        return kept
