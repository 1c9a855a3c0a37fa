"""What runs of this project import or make once: the warm process imports this module, so its runs need not.

It holds no connection, no credentials and no event loop: each run makes its own.
"""

# ruff: noqa: F401 - importing is all it does
# isort: off

import ctypes
import importlib
import threading
from contextlib import suppress
from typing import Final

import anyio
from botocore.exceptions import BotoCoreError
from PIL import Image
from prefect_aws.credentials import AwsCredentials
from pydantic import SecretStr

import prefect.engine
import prefect.flow_engine
import prefect.main
import prefect.task_engine

import flows.ingest
import flows.notify
import flows.sweep
from blocks.aws_clients import renewed_client

_IMPORTED_WHEN_USED: Final = (
    "PIL.ImageDraw",
    "blocks.dynamodb.writing",
    "boto3.s3.inject",
    "botocore.httpsession",
    "jinja2",
    "prefect.utilities.visualization",
    "pyarrow.pandas_compat",
    "pyarrow.vendored.version",
    "rich._emoji_codes",
    "rich.emoji",
)
"""Modules that functions import in the course of a run (seen with Prefect 3.9.1)."""

for _name in _IMPORTED_WHEN_USED:
    importlib.import_module(_name)
Image.preinit()  # the formats of images, which a first `save` imports

# Clients share what botocore reads for the first of a service; these are never used.
_NOBODY: Final = AwsCredentials(
    aws_access_key_id="nobody", aws_secret_access_key=SecretStr("nothing"), region_name="us-east-1"
)
for _name in ("dynamodb", "s3", "sesv2"):
    with suppress(BotoCoreError, ValueError):  # a profile that runs need not have, for example
        renewed_client(_NOBODY, _name)

# anyio imports its backend at the first loop. A thread has a loop of its own, and takes it along as it ends.
_thread = threading.Thread(target=anyio.run, args=(anyio.sleep, 0))
_thread.start()
_thread.join()

# glibc gives each thread a heap of its own, up to eight for each core, and a run has some: 4 MiB for a small file.
# Source: mallopt(3). Other C libraries do not have it.
_M_ARENA_MAX: Final = -8
if _mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
    _mallopt(_M_ARENA_MAX, 2)
