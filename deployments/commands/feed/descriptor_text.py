"""Descriptors as text that people edit."""

import json
from typing import Any, Final

_WIDTH: Final = 110


def descriptor_text(document: Any, indent: str = "") -> str:  # noqa: ANN401 - any value of JSON
    """The value as JSON, indented; what fits on one line is on one line, so that a field is a line."""
    line = json.dumps(document, ensure_ascii=False)
    inner = indent + "  "
    if not isinstance(document, dict | list) or not document or (indent and len(indent + line) <= _WIDTH):
        return line
    if isinstance(document, dict):
        parts = [f"{inner}{json.dumps(name)}: {descriptor_text(each, inner)}" for name, each in document.items()]
        return "{\n" + ",\n".join(parts) + f"\n{indent}}}"
    return "[\n" + ",\n".join(inner + descriptor_text(each, inner) for each in document) + f"\n{indent}]"
