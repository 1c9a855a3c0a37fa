"""A small plot of readings over time: values above, number of readings below. Pure; draws with Pillow."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING, Final

from blocks.domain.models import FileReport
from blocks.domain.readings_summary import Bucket, Timeline
from flows.report.wording import combined_summaries, one_line

if TYPE_CHECKING:
    from PIL import ImageDraw

# Twice the size at which it is shown, so that it is sharp on a phone. Letters are a thirtieth of the width: 12 pixels
# on a phone that is 360 pixels wide.
WIDTH: Final = 1200
HEIGHT: Final = 640
LETTERS: Final = 38
_LEFT, _RIGHT = 190, WIDTH - 40
_VALUES_TOP, _VALUES_BOTTOM = 80, 380
_COUNTS_TOP, _COUNTS_BOTTOM = 450, 550
_DOT = 7

# A light background of its own, so that it is legible on a dark page too.
_CARD, _FRAME, _INK, _FAINT = "#ffffff", "#d0d5dd", "#1d2939", "#667085"
_BAND, _LINE, _BARS = "#b9d6fb", "#175cd3", "#98a2b3"
_COLOURS: Final = 32

MOST_PLOTS: Final = 5
"""The most plots of an email or page."""
NAME_SHOWN: Final = 24
"""Characters of a field's name that fit above the plot."""

_MINUTE, _DAY = 60, 86_400
_SMALL, _THOUSAND, _LARGE = 1e-3, 1e3, 1e6  # bounds of numbers written without an exponent


@dataclass(frozen=True)
class Plot:
    """A PNG file and its caption."""

    png: bytes
    caption: str


def plots_of(files: Sequence[FileReport]) -> list[Plot]:
    """A plot of the rows that were loaded from these files for each feed with a timeline, up to `MOST_PLOTS`."""
    plots: list[Plot] = []
    for summary in combined_summaries(files):
        if summary.timeline and summary.value_field and len(plots) < MOST_PLOTS:
            value, sampled = one_line(summary.value_field, NAME_SHOWN), summary.timeline.one_in
            caption = (
                f"{value} over {one_line(summary.time_field)}: mean, and lowest to highest; below, the number of rows"
            )
            note = f". {value}: a sample of one in {sampled}" if sampled > 1 else ""
            plots.append(Plot(png(summary.timeline, summary.first, summary.last, value), caption + note))
    return plots


def png(timeline: Timeline, first: int, last: int, value: str = "value") -> bytes:
    """The plot as PNG, about 10 kB. Its only text from outside is the name of the field.

    Args:
        timeline: readings per period.
        first: epoch second of the earliest reading, where the time axis begins.
        last: epoch second of the latest reading.
        value: the name of the field.
    """
    from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415 - runs that draw nothing do not import it

    image = Image.new("RGB", (WIDTH, HEIGHT), _CARD)
    draw = ImageDraw.Draw(image)
    draw.font = ImageFont.load_default(LETTERS)
    draw.rounded_rectangle((1, 1, WIDTH - 2, HEIGHT - 2), 24, outline=_FRAME, width=3)
    buckets = list(timeline.buckets)
    across = _scale(first, last + 1, _LEFT, _RIGHT)
    _draw_values(draw, [bucket for bucket in buckets if isfinite(bucket.mean)], across, timeline.width, value)
    _draw_counts(draw, buckets, across)
    start, end = _moments(first, last)
    draw.text((_LEFT, _COUNTS_BOTTOM + 20), start, _INK)
    draw.text((_RIGHT, _COUNTS_BOTTOM + 20), end, _INK, anchor="ra")
    shown = io.BytesIO()
    image.quantize(_COLOURS).save(shown, "PNG", optimize=True)
    return shown.getvalue()


def _draw_values(
    draw: "ImageDraw.ImageDraw", buckets: Sequence[Bucket], across: Callable[[float], float], width: int, value: str
) -> None:
    draw.text((_LEFT, 22), f"{value}: mean, lowest to highest", _FAINT)
    if not buckets:
        return
    low, high = min(bucket.low for bucket in buckets), max(bucket.high for bucket in buckets)
    up = _scale(low, high, _VALUES_BOTTOM, _VALUES_TOP)
    for bound in dict.fromkeys((low, high)):
        draw.line((_LEFT, up(bound), _RIGHT, up(bound)), _FRAME, 2)
        draw.text((_LEFT - 14, up(bound)), _number(bound), _INK, anchor="rm")
    for parts in _split_at_gaps(buckets, width):
        middles = [across(bucket.start + width / 2) for bucket in parts]
        highs = [(x, up(bucket.high)) for x, bucket in zip(middles, parts, strict=True)]
        lows = [(x, up(bucket.low)) for x, bucket in zip(middles, parts, strict=True)]
        means = [(x, up(bucket.mean)) for x, bucket in zip(middles, parts, strict=True)]
        if len(parts) > 1:
            draw.polygon([*highs, *reversed(lows)], _BAND)
            draw.line(means, _LINE, 5, joint="curve")
        else:
            draw.line((*highs[0], *lows[0]), _BAND, 2 * _DOT)
            draw.circle(means[0], _DOT, _LINE)


def _draw_counts(draw: "ImageDraw.ImageDraw", buckets: Sequence[Bucket], across: Callable[[float], float]) -> None:
    draw.text((_LEFT, _COUNTS_TOP - 54), "rows", _FAINT)
    most = max(bucket.readings for bucket in buckets)
    up = _scale(0, most, _COUNTS_BOTTOM, _COUNTS_TOP)
    for bucket in buckets:
        left = across(bucket.start)
        right = max(left + 4, across(bucket.end) - 3)
        draw.rectangle((left, min(up(bucket.readings), _COUNTS_BOTTOM - 3), right, _COUNTS_BOTTOM), _BARS)
    draw.line((_LEFT, _COUNTS_BOTTOM, _RIGHT, _COUNTS_BOTTOM), _FRAME, 2)
    draw.text((_LEFT - 14, _COUNTS_TOP), _number(most), _INK, anchor="rm")


def _split_at_gaps(buckets: Sequence[Bucket], width: int) -> list[list[Bucket]]:
    """The buckets in groups of neighbours: no line is drawn across a gap without values."""
    groups = [[buckets[0]]]
    for bucket in buckets[1:]:
        if bucket.start - groups[-1][-1].start <= width:
            groups[-1].append(bucket)
        else:
            groups.append([bucket])
    return groups


def _scale(low: float, high: float, at_low: float, at_high: float) -> Callable[[float], float]:
    """The function from values to pixels. If all values are equal, it returns the middle."""
    # Halves, because the difference of two huge numbers of opposite sign would be infinite.
    span = high / 2 - low / 2
    if not span > 0:
        return lambda _: (at_low + at_high) / 2
    return lambda value: at_low + (at_high - at_low) * min(1.0, max(0.0, (value / 2 - low / 2) / span))


def _number(value: float) -> str:
    """At most four digits, which is the room beside the axis: `1,234`, `-0.35`, `1.2e125`."""
    size = abs(value)
    if size and not _SMALL <= size < _LARGE:
        return f"{value:.1e}".replace("e+", "e")
    return f"{value:,.0f}" if size >= _THOUSAND else f"{value:.4g}"


def _moments(first: int, last: int) -> tuple[str, str]:
    """Both ends of the time axis, to the second, the minute or the day, depending on the time between them."""
    start, end = datetime.fromtimestamp(first, UTC), datetime.fromtimestamp(last, UTC)
    if last - first < 10 * _MINUTE:
        return f"{start:%Y-%m-%d %H:%M:%S}", f"{end:%H:%M:%S} UTC"
    if last - first < 30 * _DAY:
        return f"{start:%Y-%m-%d %H:%M}", f"{end:%Y-%m-%d %H:%M} UTC"
    return f"{start:%Y-%m-%d}", f"{end:%Y-%m-%d} UTC"
