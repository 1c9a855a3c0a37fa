"""Hypothesis strategies: any supported feed, and files that nearly fit it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import reject
from hypothesis import strategies as st
from pydantic import ValidationError

from blocks.domain.feed.descriptor import Feed

NOW = 1_795_860_000

NAMES = ["id", "at", "Value", "°C", "a b", "flag", "note"]
DATE_FORMATS = ["default", "%d.%m.%Y", "%y%m%d", "%d %B %Y"]
DATETIME_FORMATS = [
    "default",
    "epoch",
    "epoch-milliseconds",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M:%S.%fZ",
    "%d/%m/%Y %H:%M:%S%z",
    "%Y%m%d%H%M%S",
    "%d %b %y %I:%M %p",
]
TEXTS = ["", "a", "b", "ab", "A", "ä", "é b", "0000-0001", "0000-0002", "x" * 1025, "x" * 2049, "NA", "-200", "'", "=1"]
NUMBERS = ["0", "1", "1.0", "1,0", "01", "+1", "-1", "1.5", "1,5", "1e2", "100", "1 000", "1.000,5", ".5", "5.", "-0"]
NUMBERS += [
    "1" * 38,
    "1" * 39,
    "1e126",
    "1e-131",
    "nan",
    "INF",
    "0x1",
    "1_0",
    "\u0663",
    "--1",
    "",
    "-200",
    "NA",
    "9.99",
]
BOOLEANS = ["true", "True", "1", "0", "false", "FALSE", "yes", "no", "ja", "", "NA"]
DATES = ["2026-11-28", "2026-1-5", "2024-02-29", "2023-02-29", "0001-01-01", "0000-01-01", "9999-12-31", "28.11.2026"]
DATES += [
    "1.2.2026",
    "261128",
    "691231",
    "5 March 2026",
    "05 march 2026",
    "2026-11-28T00:00:00",
    "",
    "NA",
    "\uff12026-11-28",
]
DATETIMES = [
    "2026-11-28T12:00:00",
    "2026-11-28T12:00:00Z",
    "2026-11-28T12:00:00+00:00",
    "2026-11-28T13:30:00+0130",
    "2026-11-28T12:00:00.5Z",
    "2026-11-28T12:00:00.500Z",
    "2026-11-28T12:00:00.123456Z",
    "2026-11-28T12:00:00.123456789Z",
    "2026-11-28T12:00:00.1234567891Z",
    "2026-11-28T12:00:00.000000001-23:59",
    "2026-11-28T12:00:00+24:00",
    "2026-11-28T24:00:00Z",
    "2026-11-28T12:00:60Z",
    "2026-11-28t12:00:00z",
    "2026-02-30T12:00:00Z",
    "1969-12-31T23:59:59.75Z",
    "0001-01-01T00:00:00+01:00",
    "9999-12-31T23:59:59.999999999Z",
    "9999-12-31T23:59:59-01:00",
    "2026-11-28 12:00",
    "2026-11-28 1:5",
    "28/11/2026 12:00:00+0000",
    "28/11/2026 12:00:00Z",
    "8/1/2026 2:00:00+01:00",
    "20261128120000",
    "2026112812000",
    "28 Nov 26 12:00 PM",
    "28 nov 26 1:00 am",
    "1795860000",
    "01795860000",
    "1795860000000",
    "1795860000500",
    "9" * 25,
    "0",
    "-5",
    "1.5",
    "",
    "NA",
]
SAMPLES = {
    "string": TEXTS,
    "integer": NUMBERS,
    "number": NUMBERS,
    "boolean": BOOLEANS,
    "date": DATES,
    "datetime": DATETIMES,
}
BOUNDS: dict[str, Sequence[Any]] = {
    "default": ["2026-11-28T12:00:00Z", "2026-11-28T12:00:00.123456Z", "1969-12-31T23:59:59.75Z"],
    "epoch": ["0", 1_795_860_000],
    "epoch-milliseconds": [0, "1795860000000", "1795860000500"],
    "%Y-%m-%d %H:%M": ["2026-11-28 12:00"],
    "%Y-%m-%dT%H:%M:%S.%fZ": ["2026-11-28T12:00:00.5Z"],
    "%d/%m/%Y %H:%M:%S%z": ["28/11/2026 12:00:00Z"],
    "%Y%m%d%H%M%S": ["20261128120000"],
    "%d %b %y %I:%M %p": ["28 Nov 26 12:00 PM"],
}


@dataclass(frozen=True)
class Declared:
    """A feed, the values of its fields that come from the object's key, and what its lines are made of."""

    feed: Feed
    key_values: dict[str, str]


def maybe(values: Sequence[Any]) -> st.SearchStrategy[Any]:
    return st.none() | st.sampled_from(values)


@st.composite
def constraints(draw: st.DrawFn, type_: str, form: str) -> dict[str, Any]:
    """Constraints of a field, of those that its type can have."""
    found: dict[str, Any] = {"required": draw(st.none() | st.booleans())}
    if type_ == "string":
        found["pattern"] = draw(maybe([r"\d{4}-\d{4}", "[a-zé]*", "(?:a|b)+", "[^x]*", r"\d{4}-\d{4}|a"]))
        found |= {"minLength": draw(maybe([0, 2])), "maxLength": draw(maybe([2, 9]))}
        found["enum"] = draw(st.none() | st.none() | st.lists(st.sampled_from(TEXTS[1:8]), min_size=1, unique=True))
    if type_ in {"integer", "number"}:
        found |= {"minimum": draw(maybe([-1, 0, "1"])), "maximum": draw(maybe([1, "100", 10**38]))}
        found["enum"] = draw(st.none() | st.none() | st.just([1, 100]))
        if type_ == "number":
            found["maximum"] = draw(maybe(["1.5", 1.5, 9.99]))
    if type_ == "datetime":
        found |= {"minimum": draw(maybe(BOUNDS[form])), "maximum": draw(maybe(BOUNDS[form]))}
    if type_ == "date" and form == "default":
        found |= {"minimum": draw(maybe(["2024-02-29"])), "maximum": draw(maybe(["2026-11-28", "9999-12-31"]))}
    return {name: value for name, value in found.items() if value is not None}


@st.composite
def fields(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """A field of any type."""
    type_ = draw(st.sampled_from(sorted(SAMPLES)))
    forms = {"date": DATE_FORMATS, "datetime": DATETIME_FORMATS}.get(type_, ["default"])
    form = draw(st.sampled_from(forms))
    found = {"name": name, "type": type_, "format": form, "constraints": draw(constraints(type_, form))}
    if type_ == "number" and draw(st.booleans()):
        found |= {"decimalChar": ",", "groupChar": draw(st.sampled_from([".", " "]))}
    if type_ == "boolean" and draw(st.booleans()):
        found |= {"trueValues": ["ja", "1"], "falseValues": ["no"]}
    if draw(st.integers(0, 5)) == 0:
        found["missingValues"] = draw(st.sampled_from([["no value"], [], ["", "-200"]]))
    return found


@st.composite
def feeds(draw: st.DrawFn) -> Declared:
    """A feed of one to five fields, some of which may come from the object's key."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=5, unique=True))
    declared = [draw(fields(name)) for name in names]
    possible = [field["name"] for field in declared if field["type"] != "boolean"]
    if not possible:
        declared[0] = {"name": names[0], "type": "string"}
        possible = [names[0]]
    key = draw(st.lists(st.sampled_from(possible), min_size=1, max_size=2, unique=True))
    for field in declared:
        if field["name"] in key:
            field.get("constraints", {}).pop("required", None)
    texts = [field["name"] for field in declared if field["type"] == "string" and not field.get("constraints")]
    in_key = draw(st.sampled_from(texts)) if texts and len(declared) > 1 and draw(st.booleans()) else None
    dialect: dict[str, Any] = {
        "delimiter": draw(st.sampled_from([",", ",", ";", "\t", "|", " "])),
        "header": draw(st.booleans()),
        "quoteChar": draw(maybe(['"', '"', "'"])),
        "commentChar": draw(maybe(["#", "//"])),
    }
    storage: dict[str, Any] = {"datetime": draw(st.sampled_from(["epoch-seconds", "epoch-milliseconds", "iso"]))}
    times = [field["name"] for field in declared if field["type"] == "datetime" and field["name"] != in_key]
    if draw(st.booleans()) and times:
        storage["timeToLive"] = {"field": times[0], "days": 7, "attribute": "expires at"}
    schema = {
        "fields": declared,
        "primaryKey": key,
        "missingValues": draw(st.sampled_from([[""], [""], ["", "-200"], []])),
        "fieldsMatch": draw(st.sampled_from(["exact", "equal", "subset", "superset", "partial"])),
    }
    prefix = f"incoming/{{{in_key}}}/" if in_key else "incoming/"
    document = {"name": "any", "prefix": prefix, "dialect": dialect, "schema": schema, "rejectLimit": 1}
    try:
        feed = Feed.model_validate(document | {"storage": storage})
    except ValidationError:
        reject()  # a contradiction, such as a minimum that is greater than the maximum
    return Declared(feed, {in_key: draw(st.sampled_from(["a", "0000-0001", "ä"]))} if in_key else {})


@st.composite
def cells(draw: st.DrawFn, type_: str, quote: str) -> str:
    """A field of a line: mostly of its type, sometimes quoted or surrounded by blanks."""
    text = draw(st.sampled_from(SAMPLES[type_] if draw(st.integers(0, 9)) else TEXTS))
    around = draw(st.sampled_from(["", "", "", "", quote, quote, "'"]))
    before, inside, after = (draw(st.sampled_from(["", "", "", "", " ", "\t "])) for _ in range(3))
    return f"{before}{around}{inside}{text}{around}{after}"


@st.composite
def files(draw: st.DrawFn, declared: Declared) -> bytes:
    """A file whose lines are mostly rows of the feed."""
    feed = declared.feed
    delimiter, quote = feed.dialect.delimiter, feed.dialect.quote_char or ""
    in_lines = [field for field in feed.table_schema.fields_ if field.name not in declared.key_values]
    columns = draw(st.permutations(in_lines)) if draw(st.booleans()) else in_lines
    if draw(st.integers(0, 3)) == 0:
        columns = columns[: draw(st.integers(1, len(columns)))]
    extra = draw(st.integers(0, 3)) == 0
    lines = []
    if feed.dialect.header or draw(st.integers(0, 3)) == 0:
        names = [field.name for field in columns] + ["extra"] * extra
        lines.append(
            delimiter.join(draw(st.sampled_from([name, name.upper(), f"{quote}{name}{quote}"])) for name in names)
        )
    row = st.tuples(*(cells(field.type, quote) for field in columns), *([cells("string", quote)] * extra))
    odd = st.one_of(
        st.text(alphabet=f'0-1,"; \t\x00\x0bé\u2028\ufeff=#/{delimiter}', max_size=12),
        st.sampled_from(["#c", "// c", "\ufeff", "x" * 90, delimiter * 3]),
    )
    rows = row.map(delimiter.join)
    lines += draw(st.lists(st.one_of(rows, rows, rows, rows, odd), max_size=10))
    ends = st.sampled_from(["\n", "\n", "\r\n", "\r", "\n\n", " \t\n"])
    content = b"".join((line + draw(ends)).encode() for line in lines)
    return draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf"])) + content + draw(st.sampled_from([b"", b"", b"\xff,1\n"]))
