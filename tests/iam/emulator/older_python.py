"""localemu 1.3.2 on Python 3.11 and 3.12: its package says that they are enough, and its source needs 3.13."""

import re
import sys
import warnings
from importlib.machinery import SourceFileLoader
from typing import Any, Final

_GENERIC: Final = re.compile(r"^( *(?:class|def) \w+)\[([^\]]+)\](?:\(([^()]*)\):$)?", re.MULTILINE)
_ALIAS: Final = re.compile(r"^type (\w+) = ", re.MULTILINE)
_FIRST_IMPORT: Final = re.compile(r"^(?=import |from (?!__future__))", re.MULTILINE)


def in_older_words(source: str) -> str:
    """The source without the syntax of PEP 695: `class A[T](B):` becomes `class A(B, Generic[T]):`, and so on."""
    variables = {name for each in _GENERIC.finditer(source) for name in _names(each)}
    made = "".join(f'{name} = typing.TypeVar("{name}")\n' for name in sorted(variables))
    source = _ALIAS.sub(r"\1 = ", _GENERIC.sub(_without_brackets, source))
    return _FIRST_IMPORT.sub(f"import typing\n{made}", source, count=1) if made else source


def _without_brackets(found: re.Match[str]) -> str:
    opened, bases = found[1], found[3]
    if "class " not in opened:
        return found[0].replace(f"[{found[2]}]", "", 1)
    generic = f"typing.Generic[{', '.join(_names(found))}]"
    return f"{opened}({bases}, {generic}):" if bases else f"{opened}({generic})"


def _names(found: re.Match[str]) -> list[str]:
    return [each.partition(":")[0].strip() for each in found[2].split(",")]


def read_in_older_words() -> None:
    """From now on, modules of localemu are rewritten as they are imported, where this Python needs it."""
    if sys.version_info >= (3, 13):
        return
    from typing_extensions import deprecated  # noqa: PLC0415 - localemu installs it

    vars(warnings)["deprecated"] = deprecated
    compiled = SourceFileLoader.source_to_code

    def source_to_code(loader: Any, data: Any, path: Any, **options: Any) -> Any:
        if loader.name.partition(".")[0] == "localemu":
            data = in_older_words(bytes(data).decode()).encode()
        return compiled(loader, data, path, **options)

    setattr(SourceFileLoader, "source_to_code", source_to_code)  # noqa: B010 - mypy's objection depends on the Python
