"""Imports what runs import, once."""

import gc
import importlib
import sys
from collections.abc import Sequence
from contextlib import suppress


def preload(modules: Sequence[str]) -> str | None:
    """None once the modules are imported, and what their use would prepare is prepared; else what went wrong."""
    for name in modules:
        try:
            importlib.import_module(name)
        except BaseException as error:  # noqa: BLE001 - a module may even call sys.exit()
            sys.excepthook(type(error), error, error.__traceback__)
            return f"{name} cannot be imported: {type(error).__name__}: {error}"
    _build_models()
    # What is here now stays: no forked process looks through it for garbage, and so copies it.
    gc.collect()
    gc.freeze()
    return None


def _build_models() -> None:
    """Have pydantic build the models that it would build at their first use, in each run."""
    if "pydantic" not in sys.modules:
        return
    from pydantic import BaseModel  # noqa: PLC0415 - only if something has imported it

    models: list[type[BaseModel]] = [BaseModel]
    for model in models:  # grows while it is read
        models += model.__subclasses__()
        if not model.__pydantic_complete__:
            with suppress(Exception):  # some can only be built where they are used
                model.model_rebuild()
