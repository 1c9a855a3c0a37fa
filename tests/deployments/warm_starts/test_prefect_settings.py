"""Prefect's settings in forked runs: those that a new interpreter would read."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployments.warm_starts.conftest import LAUNCHER, SECONDS, Project

LOOK = """
import logging
from prefect.settings import get_current_settings
settings = get_current_settings()
print(settings.api.url, settings.home, settings.flows.default_retries, logging.getLogger('prefect').level)
"""

SLOW_LAUNCHER = """
import sys
sys.path.insert(0, "{folder}")
import launcher

def go_on(connection, go=launcher.go):
    print("yes", file=open("accepted", "w"), flush=True)
    open("go on").read()
    go(connection)

launcher.go = go_on
launcher.main()
"""
"""Stands still between the acceptance of its run and the fork, until another process says something."""


@pytest.fixture(scope="module")
def with_prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    project = Project(tmp_path_factory.mktemp("project"))
    project.environment["PREFECT_HOME"] = str(project.folder / "home")
    project.warm("engine", "prefect.main")
    yield project
    project.close()


def look(project: Project, folder: Path | None = None, **environment: str) -> str:
    before = project.status.forked
    printed = project.run(LOOK, environment=environment, cwd=folder or project.folder)
    assert before + 1 == project.status.forked
    return printed


def test_each_run_has_the_settings_of_its_own_variables(with_prefect: Project) -> None:
    home = with_prefect.folder / "home"
    assert f"None {home} 0 20\n" == look(with_prefect)
    settings = {"PREFECT_API_URL": "http://127.0.0.1:1/api", "PREFECT_LOGGING_LEVEL": "ERROR"}
    assert f"http://127.0.0.1:1/api {home} 0 40\n" == look(with_prefect, None, **settings)
    assert f"None {home} 0 20\n" == look(with_prefect, PREFECT__FLOW_RUN_ID="7")


def test_a_run_has_its_own_settings_although_those_of_another_were_looked_at_before_it_began(
    with_prefect: Project,
) -> None:
    folder = with_prefect.folder
    os.mkfifo(folder / "go on")
    (folder / "slow_launcher.py").write_text(SLOW_LAUNCHER.format(folder=LAUNCHER.parent))
    slow = with_prefect.launch(
        LOOK, launcher=folder / "slow_launcher.py", environment={"PREFECT_LOGGING_LEVEL": "ERROR"}, log="slow.log"
    )
    with_prefect.written("accepted")
    assert look(with_prefect).endswith(" 0 20\n")
    (folder / "go on").write_text("now")
    assert slow.wait(SECONDS) == 0
    assert (folder / "slow.log").read_text().endswith(" 0 40\n")


def test_files_with_settings_in_the_folder_of_a_run_are_read(with_prefect: Project) -> None:
    folder = with_prefect.folder / "elsewhere"
    folder.mkdir()
    (folder / "prefect.toml").write_text("[flows]\ndefault_retries = 5\n")
    assert " 5 " in look(with_prefect, folder)
    assert " 0 " in look(with_prefect)


def test_the_profile_of_another_home_is_read_also_after_it_has_changed(with_prefect: Project) -> None:
    home = with_prefect.folder / "other home"
    home.mkdir()
    for retries in "3", "4":
        profile = f'active = "mine"\n[profiles.mine]\nPREFECT_FLOWS_DEFAULT_RETRIES = "{retries}"\n'
        (home / "profiles.toml").write_text(profile)
        assert f"{home} {retries} " in look(with_prefect, PREFECT_HOME=str(home))
    shutil.rmtree(home)


def test_settings_that_are_not_valid_are_refused_where_the_run_shows_it(with_prefect: Project) -> None:
    launcher = with_prefect.launch(LOOK, environment={"PREFECT_FLOWS_DEFAULT_RETRIES": "many"})
    assert launcher.wait(60) != 0
    printed = (with_prefect.folder / "run.log").read_text()
    assert "no warm start (the warm process cannot use its folder or Prefect settings" in printed
    assert "Traceback" in printed
    assert " 0 " in look(with_prefect)
