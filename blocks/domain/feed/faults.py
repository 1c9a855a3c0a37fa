"""Faults of a descriptor: each has its place, the problem, and the remedy."""

from difflib import get_close_matches
from typing import Any, Final, NamedTuple

from pydantic import BaseModel
from pydantic_core import ErrorDetails, PydanticCustomError, ValidationError

CONTRADICTIONS: Final = "feed_contradictions"

_ELSEWHERE: Final = {
    "bareNumber": "numbers stand alone in their fields: leave it out, or declare a string",
    "caseSensitiveHeader": "names in a header match in any case: leave it out",
    "categories": "list the values in constraints.enum",
    "categoriesOrdered": "leave it out",
    "commentRows": "say with dialect.commentChar what comments start with",
    "compression": "gzip and zstd are recognized by content: leave it out",
    "csvddfVersion": "version 2 of the standard has it no more: leave it out",
    "data": "leave it out: files land under the prefix",
    "escapeChar": "fields that contain the delimiter are in quotes, see dialect.quoteChar",
    "exclusiveMaximum": "give the greatest value that is allowed as maximum",
    "exclusiveMinimum": "give the least value that is allowed as minimum",
    "foreignKeys": "leave it out: DynamoDB has no foreign keys",
    "headerJoin": "a header is one line: leave it out",
    "headerRows": "a header is one line, the first that is no comment: leave it out, or say header: false",
    "jsonSchema": "there are no fields of JSON: use pattern, or leave it out",
    "nullSequence": "list it in schema.missingValues",
    "path": "say with prefix where the files land, such as incoming/weather/",
    "profile": "version 2 of the standard has $schema in its place: leave it out",
    "resources": "each resource is a feed of its own: give its properties here",
    "unique": "name the field in schema.primaryKey: the last row of a key in a file is stored",
    "uniqueKeys": "name the fields in schema.primaryKey: the last row of a key in a file is stored",
}
"""Properties of the standard that are not supported, and what to do in their place."""


class Fault(NamedTuple):
    """One fault of a descriptor."""

    place: str
    """Where it is, such as `schema.fields[1].constraints.pattern`; empty for the document as a whole."""
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.place or 'the document'}: {self.problem}; {self.remedy}"


def place_of(location: tuple[int | str, ...]) -> str:
    """The path in the document: `("schema", "fields", 1)` is `schema.fields[1]`."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in location]
    return "".join(parts).removeprefix(".")


def contradictions_error(faults: list[Fault]) -> PydanticCustomError:
    """What a validator raises; `faults_of` returns the same faults."""
    text = " ".join(f"{fault}." for fault in faults)
    return PydanticCustomError(CONTRADICTIONS, "{text}", {"text": text, "faults": faults})


def faults_of(error: ValidationError, model: type[BaseModel]) -> list[Fault]:
    """The faults that pydantic found in a document of the model, each place once."""
    found: dict[str, Fault] = {}
    for each in error.errors():
        if each["type"] == CONTRADICTIONS:
            found |= {fault.place: fault for fault in each["ctx"]["faults"]}
        else:
            fault = _fault(each, model)
            found.setdefault(fault.place, fault)
    return list(found.values())


def _fault(error: ErrorDetails, model: type[BaseModel]) -> Fault:
    owner, location = _owner(error["loc"], model)
    place, name = place_of(location), str(location[-1]) if location else ""
    if error["type"] == "extra_forbidden":
        return Fault(place, *_unknown(name, owner))
    declared = next((each for key, each in owner.model_fields.items() if name in (key, each.alias)), None)
    if error["type"] == "missing":
        return Fault(place, "is missing", f"add it: {_sentence(declared)}")
    problem = error["msg"].removeprefix("Value error, ").replace("Input should", "should")
    return Fault(place, problem[:1].lower() + problem[1:], f"what it says: {_sentence(declared)}")


def _unknown(name: str, owner: type[BaseModel]) -> tuple[str, str]:
    """Problem and remedy of a property that the model does not have."""
    if name in _ELSEWHERE:
        return "is not supported", _ELSEWHERE[name]
    names = [each.alias or key for key, each in owner.model_fields.items()]
    like = get_close_matches(name, names, 1, 0.7)
    return "is no property that is known here", f"did you mean {like[0]}?" if like else f"there are {', '.join(names)}"


def _owner(location: tuple[int | str, ...], model: type[BaseModel]) -> tuple[type[BaseModel], tuple[int | str, ...]]:
    """The model that the last property of a location belongs to; and the location without names of union members."""
    known: list[int | str] = []
    owner, inner = model, model
    for part in location:
        if isinstance(part, int):
            known.append(part)
            continue
        declared = next((each for key, each in inner.model_fields.items() if part in (key, each.alias)), None)
        if declared is None and part != location[-1]:
            break
        known.append(part)
        owner = inner
        if declared is None or (following := _model_in(declared.annotation)) is None:
            break
        inner = following
    return owner, tuple(known)


def _model_in(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401 - whatever type a field is annotated with
    """The model of a property's value, or of the elements of a tuple."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = (_model_in(each) for each in getattr(annotation, "__args__", ()))
    return next((each for each in inner if each), None)


def _sentence(declared: Any) -> str:  # noqa: ANN401 - pydantic's FieldInfo, or None
    text = (declared.description if declared else None) or "an object"
    return (text[:1].lower() + text[1:] if not text[:2].isupper() else text).rstrip(".")
