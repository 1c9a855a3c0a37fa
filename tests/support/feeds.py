"""Feeds for tests: the sensor file with other rules."""

from inspect import signature
from typing import Any

from blocks.domain.feed.descriptor import SENSOR_READINGS, Feed
from flows.rows import ValidationSettings


def sensor_feed(
    *,
    sensor_id_pattern: str | None = None,
    earliest: int | None = None,
    latest: int | None = None,
    reject_limit: float | None = None,
) -> Feed:
    """The sensor file's feed with other constraints or another limit."""
    described = SENSOR_READINGS.as_document()
    sensor_id, timestamp, _ = (field.setdefault("constraints", {}) for field in described["schema"]["fields"])
    if sensor_id_pattern is not None:
        sensor_id["pattern"] = sensor_id_pattern
    if earliest is not None:
        timestamp["minimum"] = earliest
    if latest is not None:
        timestamp["maximum"] = latest
    if reject_limit is not None:
        described["rejectLimit"] = reject_limit
    return Feed.model_validate(described)


def sensor_settings(**rules: Any) -> ValidationSettings:  # noqa: ANN401 - settings, and arguments of `sensor_feed`
    """Settings for the sensor file with other rules."""
    of_feed = {name: rules.pop(name) for name in signature(sensor_feed).parameters if name in rules}
    return ValidationSettings(feed=sensor_feed(**of_feed), **rules)
