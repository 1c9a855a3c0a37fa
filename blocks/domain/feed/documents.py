"""A descriptor as JSON text."""

import json
from typing import Any, NoReturn

from blocks.domain.feed.descriptor import Feed, FeedInvalidError, parse_feed
from blocks.domain.feed.faults import Fault


def feed_of_json(text: bytes, source: str) -> Feed:
    """The feed that a file or a text declares.

    Raises:
        FeedInvalidError: it is not JSON, or no feed; the error has each fault with its place.
    """
    try:
        document = json.loads(text, object_pairs_hook=_without_repetition, parse_constant=_no_number)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise FeedInvalidError(source, [Fault(place, f"it is no JSON: {error.msg}", "correct it there")]) from error
    except (ValueError, RecursionError) as error:
        raise FeedInvalidError(source, [Fault("", f"it is no JSON: {error}", "correct it, as UTF-8")]) from error
    return parse_feed(document, source)


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"an object has {next(name for name in names if names.count(name) > 1)!r} twice")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")
