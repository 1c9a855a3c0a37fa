"""Any readings can be plotted, and the PNG stays small."""

import io

import pytest
from PIL import Image

from blocks.domain.readings_summary import Bucket, Timeline
from flows.report.plot import HEIGHT, WIDTH, png

START = 1_483_906_366


def timeline(*values: tuple[float, float, float], readings: int = 1, width: int = 1, step: int = 1) -> Timeline:
    """Buckets of lowest, mean and highest values, every `step` of them."""
    starts = [(START + number * step) * width for number in range(len(values))]
    return Timeline.of(
        width,
        [Bucket(start, start + width, readings, *value) for start, value in zip(starts, values, strict=True)],
    )


LARGEST = 9.99e125
NAN = float("nan")


@pytest.mark.parametrize(
    "values",
    [
        [(5.0, 5.0, 5.0)],
        [(-LARGEST, 0.0, LARGEST)],
        [(-LARGEST, -LARGEST, -LARGEST), (LARGEST, LARGEST, LARGEST)],
        [(1e-130, 1e-130, 1e-130), (-1e-130, -1e-130, 0.0)],
        [(NAN, NAN, NAN)],
        [(1.0, 2.0, 3.0), (NAN, NAN, NAN), (1.0, 2.0, 3.0)],
        [(float(number), number + 1.0, number + 5.0) for number in range(48)],
    ],
)
@pytest.mark.parametrize("step", [1, 7])
def test_any_values_make_a_small_picture(values: list[tuple[float, float, float]], step: int) -> None:
    drawn = timeline(*values, step=step, readings=10**9)
    content = png(drawn, START, START + len(values) * step)
    with Image.open(io.BytesIO(content)) as picture:
        assert ("PNG", (WIDTH, HEIGHT)) == (picture.format, picture.size)
    assert len(content) < 30_000


@pytest.mark.parametrize(("first", "last"), [(START, START), (START, START + 10**9), (0, 2**36 - 1)])
def test_any_range_of_time_makes_a_picture(first: int, last: int) -> None:
    assert png(timeline((1.0, 2.0, 3.0)), first, last)


def test_other_values_make_another_picture() -> None:
    low, high = timeline((1.0, 1.0, 1.0), (2.0, 2.0, 2.0)), timeline((1.0, 1.0, 1.0), (3.0, 3.0, 3.0))
    assert png(low, START, START + 2) != png(high, START, START + 2)
