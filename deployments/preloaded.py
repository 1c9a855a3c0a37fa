"""What runs of this project import or make once: the warm process imports this module, so its runs need not.

It holds no connection, no credentials and no event loop: each run makes its own.
"""

# ruff: noqa: F401 - importing is all it does
# isort: off

import importlib
import threading
from typing import Final

import anyio

import prefect.engine
import prefect.flow_engine
import prefect.main
import prefect.task_engine

import flows.ingest
import flows.notify
import flows.sweep

_IMPORTED_WHEN_USED: Final = (
    "PIL.ImageDraw",
    "PIL.PngImagePlugin",
    "blocks.dynamodb.writing",
    "boto3.s3.inject",
    "botocore.httpsession",
    "jinja2",
    "prefect.utilities.visualization",
    "pyarrow.pandas_compat",
    "rich.emoji",
)
"""Modules that functions import in the course of a run (seen with Prefect 3.9.1)."""

for _name in _IMPORTED_WHEN_USED:
    importlib.import_module(_name)

# anyio imports its backend at the first loop. A thread has a loop of its own, and takes it along as it ends.
_thread = threading.Thread(target=anyio.run, args=(anyio.sleep, 0))
_thread.start()
_thread.join()
