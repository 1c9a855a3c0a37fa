"""What every template escapes, whether or not its author thought of it."""

import tomllib
from fnmatch import fnmatch
from pathlib import Path

import jinja2
import pytest

from flows.report.templates import template
from flows.report.wording import markdown_text

PROJECT = Path(__file__).parents[3]
HOSTILE = "<b>|[x](y)\n\u202e"


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("a.html.j2", r"&lt;b&gt;|[x](y)\n\u202e"),
        ("a.md.j2", r"&lt;b&gt;\|\[x\](y) \\u202e"),
        ("a.txt.j2", r"<b>|[x](y)\n\u202e"),
    ],
)
@pytest.mark.parametrize("expression", ["{{ value }}", "{{ value | safe }}", "{{ [value] | join('') }}"])
def test_a_value_is_escaped_for_the_format_of_the_template_whatever_its_author_writes(
    tmp_path: Path, name: str, escaped: str, expression: str
) -> None:
    (tmp_path / name).write_text(expression)
    assert escaped == template(tmp_path / name).render(value=HOSTILE)


def test_a_template_that_prints_an_unknown_name_raises_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.txt.j2").write_text("{{ headlin }}")
    with pytest.raises(jinja2.UndefinedError, match="headlin"):
        template(tmp_path / "a.txt.j2").render(headline="7 rows loaded")


@pytest.mark.parametrize("text", ["# h", "- item", "+ item", "1. item", "1) item", "--- rule"])
def test_a_text_at_the_start_of_a_line_makes_no_heading_list_or_rule_in_markdown(text: str) -> None:
    escaped = markdown_text(text)
    assert text == escaped.replace("\\", "")
    assert 1 == escaped.count("\\")


def test_an_installed_package_has_all_templates() -> None:
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    patterns = [f"{package}/{each}" for package, data in settings["package-data"].items() for each in data]
    files = [
        file.relative_to(PROJECT)
        for package in ("blocks", "deployments", "flows")
        for file in PROJECT.glob(f"{package}/**/*.j2")
    ]
    assert len(files) >= 5
    assert [] == [str(file) for file in files if not any(fnmatch(str(file), pattern) for pattern in patterns)]
