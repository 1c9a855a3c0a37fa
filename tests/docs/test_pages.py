"""The pages among themselves: their kinds, links, paths, commands and words."""

import re
from pathlib import Path

import pytest

from tests.support.commands import all_commands
from tests.support.pages import GUIDE_PAGES, PAGES, PROJECT, Page, page, rows

SOURCES = [
    path
    for pattern in ("*.py", "*.yaml", "*.j2", "Makefile", "Dockerfile", "*.toml", "*.service", "*.example")
    for path in PROJECT.rglob(pattern)
    if not {part for part in path.relative_to(PROJECT).parts if part.startswith(".")}
]
_PATH = re.compile(r"\b(?:benchmarks|blocks|deployments|docs|flows|tests)/[\w./*-]*[\w*/]")
KINDS = {"tutorial": "Tutorial: ", "how-to": "How-to: ", "reference": "Reference: ", "explanation": "Explanation: "}


def _kind(each: Page) -> str:
    folder = each.path.parent.name
    if folder in KINDS:
        return folder
    return {"tutorial": "tutorial", "glossary": "reference"}.get(each.path.stem, "explanation")


@pytest.mark.parametrize("each", [each for each in GUIDE_PAGES if each.path.name != "README.md"], ids=str)
def test_the_first_line_of_a_page_says_what_kind_it_is(each: Page) -> None:
    assert each.text.startswith(f"# {KINDS[_kind(each)]}")


def test_every_page_is_in_the_section_of_its_kind_on_the_map() -> None:
    sections = page("docs/README.md").text.split("\n## ")[1:]
    listed = {
        (section.split(":")[0].lower(), PROJECT / "docs" / target)
        for section in sections
        for target in re.findall(r"\]\(([\w/-]+\.md)\)", section)
    }
    assert {(_kind(each), each.path) for each in GUIDE_PAGES if each.path.name != "README.md"} == listed


@pytest.mark.parametrize("each", PAGES, ids=str)
def test_every_link_leads_to_a_file_and_a_heading_of_it(each: Page) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", each.prose_with_spans):
        if target.startswith(("http://", "https://")):
            continue
        path, _, anchor = target.partition("#")
        linked = Page((each.path.parent / path).resolve() if path else each.path)
        if not linked.path.exists() or (anchor and anchor not in linked.anchors):
            broken.append(target)
    assert [] == broken


@pytest.mark.parametrize("each", PAGES, ids=str)
def test_every_path_of_this_project_on_a_page_exists(each: Page) -> None:
    paths = {path for code in each.code for path in _PATH.findall(code) if "NAME" not in path}
    assert [] == sorted(path for path in paths if not list(PROJECT.glob(path.rstrip("/"))))


def test_every_page_that_the_code_names_exists() -> None:
    missing = [
        (str(source.relative_to(PROJECT)), path)
        for source in SOURCES
        for path in re.findall(r"\bdocs/[\w./*-]*[\w/]", source.read_text(encoding="utf-8"))
        if not list(PROJECT.glob(path.rstrip("/")))
    ]
    assert [] == missing


@pytest.mark.parametrize("each", PAGES, ids=str)
def test_every_command_on_a_page_exists_with_its_options(each: Page) -> None:
    commands = all_commands()
    pattern = r"(?:^|[(;&|] ?)\s*(?:xargs [-\w ]+)?sensor-ingest ((?:feed )?[a-z]+)\b([^`|\n#)]*)"
    for name, rest in re.findall(pattern, "\n".join(each.code), re.MULTILINE):
        assert name in commands, name
        options = {option for parameter in commands[name].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", rest)) <= options | {"--help"}, (name, rest)


@pytest.mark.parametrize("each", PAGES, ids=str)
def test_no_page_uses_a_word_that_the_glossary_replaces(each: Page) -> None:
    glossary = page("docs/glossary.md")
    words = [word for not_used, _ in rows(glossary.text, "not") for word in not_used.split(", ")]
    prose = each.prose.split("## Words that are not used")[0]
    assert [] == [word for word in words if re.search(rf"\b{word}s?\b", prose, re.IGNORECASE)]


def test_every_term_of_the_glossary_has_one_meaning_and_is_used() -> None:
    glossary = page("docs/glossary.md")
    terms = [term.removeprefix("to ") for row in rows(glossary.text, "term") for term in row[0].split(", ")]
    assert sorted(set(terms)) == sorted(terms)
    texts = [each.text for each in PAGES if each.path != glossary.path]
    everything = " ".join(" ".join([*texts, *map(_read, SOURCES)]).lower().replace("_", " ").split())
    assert [] == [term for term in terms if not re.search(rf"\b{term.replace(' ', '[ -]')}", everything)]


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")
