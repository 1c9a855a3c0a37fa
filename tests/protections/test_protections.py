"""The list of protections that `make protections` removes one by one is up to date."""

from pathlib import Path

import pytest

from tests.faults.protections_list import PROTECTIONS, Protection

PROJECT = Path(__file__).parents[2]


@pytest.mark.parametrize("protection", PROTECTIONS, ids=lambda each: each.name)
def test_a_protected_line_occurs_exactly_once_in_its_file(protection: Protection) -> None:
    assert 1 == (PROJECT / protection.file).read_text(encoding="utf-8").count(protection.line)


@pytest.mark.parametrize("protection", PROTECTIONS, ids=lambda each: each.name)
def test_the_tests_of_a_protection_exist(protection: Protection) -> None:
    for test in protection.tests:
        path, _, name = test.partition("::")
        assert f"def {name}" in (PROJECT / path).read_text(encoding="utf-8")
