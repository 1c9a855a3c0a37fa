"""Keys of rows as one or two 64-bit integers: equal keys are equal integers, different keys different ones.

A key that fits is packed into 64 bits, exactly. Any other key becomes a fingerprint of 128 bits, from multipliers that
are chosen at random for each file. The chance that any two of 20,000,000 different keys have the same fingerprint is
below 10**-23, whatever the keys are, as the sender of a file does not know the multipliers.
"""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from flows.rows.arrays import Integers, to_integers

Words = npt.NDArray[np.uint64]

_TEMPLATE = re.compile(r"(?:\\d(?:\{(\d+)\})?|([A-Za-z0-9_-]))")
_FOUR_DIGITS = _WORD_BYTES = 4
_32_BITS = np.uint64(32)
_LEAST_MULTIPLIERS = 64


class Code(Protocol):
    """Values of one column as integers of so many bits."""

    @property
    def bits(self) -> int:
        """How many bits the largest code has."""

    def __call__(self, values: pa.Array) -> Integers:
        """The code of each value, from 0."""


@dataclass(frozen=True)
class IntegerCode:
    """Integers from `first` on."""

    first: int
    bits: int

    @classmethod
    def between(cls, first: int, last: int) -> "IntegerCode":
        return cls(first, (last - first).bit_length())

    def __call__(self, values: pa.Int64Array) -> Integers:
        numbers = to_integers(values)
        return numbers - self.first if self.first else numbers


@dataclass(frozen=True)
class EnumCode:
    """The place of a text in a list."""

    texts: tuple[str, ...]

    @property
    def bits(self) -> int:
        return (len(self.texts) - 1).bit_length()

    def __call__(self, values: pa.StringArray) -> Integers:
        return to_integers(pc.index_in(values, pa.array(self.texts, pa.string()))).astype(np.int64)


@dataclass(frozen=True)
class DigitsCode:
    r"""The number of the digits in texts such as `0000-0001`: each has digits at the same places."""

    width: int
    runs: tuple[tuple[int, int], ...]
    """Where digits are: the start and the length of each run."""

    @classmethod
    def of_pattern(cls, pattern: str) -> "DigitsCode | None":
        r"""The code for texts that match a pattern such as `\d{4}-\d{4}`; None for other patterns."""
        position, width, runs = 0, 0, list[tuple[int, int]]()
        while position < len(pattern):
            if not (match := _TEMPLATE.match(pattern, position)):
                return None
            position = match.end()
            if match.group(2):
                width += 1
                continue
            count = int(match.group(1) or 1)
            runs.append((width, count))
            width += count
        return cls(width, tuple(runs)) if 0 < sum(count for _, count in runs) <= 18 else None  # noqa: PLR2004 - 64 bits

    @property
    def bits(self) -> int:
        return int(10 ** sum(count for _, count in self.runs) - 1).bit_length()

    def __call__(self, values: pa.StringArray) -> Integers:
        if not len(values):
            return np.zeros(0, np.int64)
        _, offsets, text = values.buffers()
        count, begin = len(values), int(np.frombuffer(offsets, np.int32)[values.offset])
        numbers = np.zeros(count, np.int64)
        for start, length in self.runs:
            for first in range(start, start + length, _FOUR_DIGITS):
                digits = min(_FOUR_DIGITS, start + length - first)
                if digits == _FOUR_DIGITS:
                    part = _parse_four_digits(np.ndarray(count, "<u4", text, begin + first, strides=self.width))
                    numbers = numbers * 10_000 + part
                    continue
                for place in range(first, first + digits):
                    numbers = numbers * 10 + (
                        np.ndarray(count, np.uint8, text, begin + place, strides=self.width) & 0x0F
                    )
        return numbers


def _parse_four_digits(text: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """The number of four ASCII digits, the first in the lowest byte: digits are joined to pairs, then the pairs."""
    digits = text & np.uint32(0x0F0F0F0F)
    pairs = ((digits * np.uint32(1 + (10 << 8))) >> np.uint32(8)) & np.uint32(0x00FF00FF)
    return (pairs * np.uint32(1 + (100 << 16))) >> np.uint32(16)


class PackedKeys:
    """Keys whose codes fit into 64 bits together."""

    words = 1

    def __init__(self, codes: Sequence[Code]) -> None:
        self._codes = codes

    def __call__(self, columns: Sequence[pa.Array], codes: dict[int, Integers] | None = None) -> Integers:
        """One key for each row; `codes` are those of columns, by place, that are known already."""
        keys = np.zeros(len(columns[0]) if columns else 0, np.int64)
        for place, (code, column) in enumerate(zip(self._codes, columns, strict=True)):
            found = codes[place] if codes and place in codes else code(column)
            keys = found if not place else (keys << code.bits) | found
        return keys


class Fingerprints:
    """Fingerprints of texts and integers, of one or more columns together.

    Each half of 32 bits is a multilinear hash: the upper half of a sum of products, modulo 2**64, of the words of the
    columns and random multipliers. Two different keys have the same with a chance of at most 2**-32, independently for
    each half. Source: "Strongly universal string hashing is fast", Lemire and Kaser, 2014.
    """

    def __init__(self, words: int) -> None:
        """Make fingerprints of so many 64-bit words."""
        self.words = words
        self._random = np.random.default_rng(secrets.randbits(128))
        self._multipliers: dict[int, Words] = {}  # by column: for each 32 bits of the result, one for each 32-bit word

    def __call__(self, columns: Sequence[pa.Array]) -> Integers:
        """The fingerprint of each row: an array of `words` columns, or of one dimension if that is one."""
        sums = np.zeros((2 * self.words, len(columns[0])), np.uint64)
        sums += self._of(-1, 1)[:, :1]
        for place, column in enumerate(columns):
            if pa.types.is_string(column.type):
                self._add_texts(place, column, sums)
            else:
                halves = np.ascontiguousarray(column.to_numpy(zero_copy_only=False).astype(np.int64)).view(np.uint64)
                self._add(place, 0, halves & np.uint64(0xFFFFFFFF), sums)
                self._add(place, 1, halves >> _32_BITS, sums)
        halves = sums >> _32_BITS
        joined = (halves[0::2] << _32_BITS) | halves[1::2]
        return np.ascontiguousarray(joined.T).view(np.int64) if self.words > 1 else joined[0].view(np.int64)

    def _add_texts(self, place: int, texts: pa.StringArray, sums: Words) -> None:
        """Add the words of each text, four bytes each, after its length."""
        _, offsets, data = texts.buffers()
        bounds = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
        starts, sizes = bounds[:-1], np.diff(bounds)
        self._add(place, 0, sizes.astype(np.uint64), sums)
        longest = int(sizes.max(initial=0))
        if not longest:
            return
        first, last = int(bounds[0]), int(bounds[-1])
        content = np.frombuffer(data, np.uint8, last - first, first)
        padded = np.concatenate([content, np.zeros(_WORD_BYTES, np.uint8)])
        words = np.ndarray(len(content), "<u4", padded.data, strides=1)  # the four bytes from each byte on
        starts = starts - first
        rows: Integers | slice = slice(None)
        for word in range(-(-longest // _WORD_BYTES)):
            left = sizes - word * _WORD_BYTES
            if (left <= 0).any():
                keep = left > 0
                rows = np.flatnonzero(keep) if isinstance(rows, slice) else rows[keep]
                starts, sizes, left = starts[keep], sizes[keep], left[keep]
            values = words[starts + word * _WORD_BYTES].astype(np.uint64)
            partial = left < _WORD_BYTES
            if partial.any():
                bits = (8 * left[partial]).astype(np.uint64)
                values[partial] &= (np.uint64(1) << bits) - np.uint64(1)
            self._add(place, word + 1, values, sums, rows)

    def _add(self, place: int, word: int, values: Words, sums: Words, rows: Integers | slice = slice(None)) -> None:
        multipliers = self._of(place, word + 1)[:, word]
        for half, multiplier in enumerate(multipliers):
            sums[half, rows] += values * multiplier

    def _of(self, place: int, count: int) -> Words:
        """At least so many multipliers for the words of a column."""
        known = self._multipliers.get(place)
        if known is None or known.shape[1] < count:
            more = max(_LEAST_MULTIPLIERS, count)
            new = self._random.integers(0, 2**64, (2 * self.words, more), np.uint64, endpoint=False)
            self._multipliers[place] = new if known is None else np.concatenate([known, new], axis=1)
        return self._multipliers[place]
