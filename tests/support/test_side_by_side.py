"""Where tests run that run side by side; a pytest of its own runs some."""

import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

PROJECT = Path(__file__).parents[2]
TESTS = "import pytest\n\n@pytest.mark.parametrize('n', range(4))\ndef test_it(n):\n    pass\n"


def test_a_folder_stays_on_one_worker_and_long_ones_begin(tmp_path: Path) -> None:
    for module in ("any/test_a", "any/test_b", "blocks/test_a", "blocks/test_b", "flows/test_a", "flows/rows/test_a"):
        file = tmp_path / "tests" / f"{module}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    command = [sys.executable, "-m", "pytest", "-vv", "--numprocesses", "2", "-p", "tests.support.side_by_side"]
    command += ["-p", "no:cacheprovider", "--import-mode=importlib", "tests"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"PYTHONPATH": str(PROJECT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True)
    assert 0 == done.returncode, done.stdout + done.stderr

    ran: dict[str, list[str]] = defaultdict(list)  # by worker, the folders of its tests as they came
    for line in done.stdout.splitlines():
        if "PASSED" in line:
            ran[line.split()[0]].append(line.split()[-1].removeprefix("tests/").split("/test_")[0])
    assert {"any", "blocks", "flows", "flows/rows"} == {folder for folders in ran.values() for folder in folders}
    for folder in ("any", "blocks", "flows"):
        assert 1 == len([folders for folders in ran.values() if folder in folders]), ran
    assert "flows" in {folders[0] for folders in ran.values()}, ran
