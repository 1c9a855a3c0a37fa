"""JSON Schema of a descriptor, for editors and other tools.

`python -m blocks.domain.feed.json_schema > docs/reference/feed.schema.json` writes the published one.
"""

import json
import sys
from typing import Any

from blocks.domain.feed.descriptor import Feed


def feed_json_schema() -> dict[str, Any]:
    """The JSON Schema that documents of feeds match. It does not know the rules about several properties."""
    schema = Feed.model_json_schema(by_alias=True)

    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Feed of sensor-ingest"}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(feed_json_schema(), indent=2, ensure_ascii=False) + "\n")
