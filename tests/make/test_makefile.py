"""What `make` says before it sets anything up."""

import subprocess
import sys
from pathlib import Path

MAKEFILE = Path(__file__).parents[2] / "Makefile"


def test_a_python_without_venv_is_named_with_the_remedy_and_nothing_is_made(tmp_path: Path) -> None:
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).touch()
    python = tmp_path / "python"  # Debian's python3: venv is there, ensurepip is in the package python3-venv
    hidden = "import sys; sys.modules['ensurepip'] = None; exec(sys.argv[1])"
    python.write_text(f'#!/bin/sh\n[ "$1" = -c ] && exec {sys.executable} -c "{hidden}" "$2"\nexit 7\n')
    python.chmod(0o755)
    made = subprocess.run(
        ["make", "--no-print-directory", f"--file={MAKEFILE}", f"PYTHON={python}", "install"],  # noqa: S607 - any make
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert 2 == made.returncode
    assert ["cannot create virtual environments; on Debian and Ubuntu: apt install python3-venv"] == [
        line.removeprefix(f"{python} ") for line in made.stdout.splitlines()
    ]
