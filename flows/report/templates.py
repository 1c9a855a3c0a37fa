"""Jinja2 templates of emails and pages. Every printed value is escaped, whether or not a filter asks for it."""

from functools import cache
from inspect import getmembers, isfunction
from pathlib import Path
from typing import TYPE_CHECKING, Final

from blocks.domain.text import printable
from flows.report import titles, wording

if TYPE_CHECKING:
    from jinja2 import Template

_ESCAPES: Final = {".html": printable, ".md": wording.markdown_text, ".txt": printable}


@cache
def template(path: Path) -> "Template":
    """The template in a file such as `email.html.j2`; the suffix before `.j2` is the format that it escapes for.

    Each printed value is on one line, with control characters spelled out, and has no meaning to HTML or Markdown. The
    filter `safe` does not change that. A template that prints an undefined name raises `jinja2.UndefinedError`.
    """
    # Imported here because it costs 25 ms of CPU, which runs that render nothing do not pay.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape  # noqa: PLC0415 - as above

    escape = _ESCAPES[path.suffixes[-2]]
    environment = Environment(
        loader=FileSystemLoader(path.parent),
        autoescape=select_autoescape(["html.j2"]),
        finalize=lambda value: escape(str(value)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= dict(getmembers(wording, isfunction)) | dict(getmembers(titles, isfunction))
    environment.globals |= {name: value for name, value in vars(wording).items() if name.isupper()}
    return environment.get_template(path.name)
