"""Random input to whatever parses what comes from outside: each is understood or refused by name, nothing else.

`make fuzz` takes 20,000 examples of each, or `EXAMPLES=…`; `make test` a hundred.
"""

import asyncio
import csv
import json
import os
import re
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import quote_plus, urlsplit

from botocore.credentials import ReadOnlyCredentials
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from blocks.domain.feed.descriptor import SENSOR_READINGS, Feed, FeedInvalidError, parse_feed
from blocks.domain.models import SensorFile
from blocks.dynamodb.errors import NoResponseError
from blocks.dynamodb.responses import Response
from blocks.dynamodb.signing import Signer
from blocks.dynamodb.transports import Endpoint, FastTransport
from deployments.relay.s3_events import UnknownMessageError, announced_files
from flows.rows import ValidationSettings, validate_file
from tests.support.pages import PROJECT

EXAMPLES: Final = int(os.environ.get("FUZZ_EXAMPLES", "100"))

fuzzed = settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
slower = settings(fuzzed, max_examples=max(1, EXAMPLES // 4))
"""For examples that take milliseconds each."""

texts = st.text(st.characters(codec="utf-8"), max_size=30) | st.sampled_from(["", "a\nb", "\x1b[2J", "\u202e", "=1+1"])
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def damaged(documents: st.SearchStrategy[Any], names: list[str]) -> st.SearchStrategy[Any]:
    """Documents of which parts are replaced: by anything, or by nothing."""

    @st.composite
    def damage(draw: st.DrawFn) -> Any:  # noqa: ANN401 - any JSON
        document = json.loads(json.dumps(draw(documents)))
        for _ in range(draw(st.integers(0, 2))):
            place = document
            while isinstance(place, dict | list) and place:
                key: Any = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
                if draw(st.booleans()) or not isinstance(place[key], dict | list):
                    match draw(st.sampled_from(["replace", "leave out", "add"])):
                        case "replace":
                            place[key] = draw(anything)
                        case "leave out":
                            del place[key]
                        case _ if isinstance(place, dict):
                            place[draw(st.sampled_from(names) | texts)] = draw(anything)
                    break
                place = place[key]
        return document

    return damage()


# ---- Responses of DynamoDB ------------------------------------------------------------------------------------------

puts = st.fixed_dictionaries(
    {"PutRequest": st.fixed_dictionaries({"Item": st.dictionaries(texts, st.dictionaries(st.just("S"), texts))})}
)
responses = st.fixed_dictionaries({"UnprocessedItems": st.dictionaries(texts, st.lists(puts, max_size=3), max_size=2)})
errors = st.fixed_dictionaries({"__type": texts, "message": texts})
json_bodies = damaged(responses | errors, ["UnprocessedItems", "__type", "message"]).map(json.dumps).map(str.encode)
bodies = json_bodies | st.binary(max_size=60) | st.integers(1, 5_000).map(lambda depth: depth * b"[")


@fuzzed
@given(st.just(200) | st.integers(100, 599), bodies)
@example(200, b"{}")
@example(200, b'{"UnprocessedItems":null}')
@example(400, 100_000 * b"[")
def test_a_response_is_understood_or_is_none(status: int, body: bytes) -> None:
    try:
        response = Response.parse(status, body)
    except NoResponseError:
        assert status < 400
        return
    assert status == response.status
    if status == 200:
        said = [put for table in json.loads(body)["UnprocessedItems"].values() for put in table]
        assert said == response.unprocessed
        assert all(isinstance(put["PutRequest"]["Item"], dict) for put in response.unprocessed)
    else:
        assert status >= 400
        assert response.code
        assert str(response.error())


lengths = st.integers(-5, 200).map(str)
header_lines = st.one_of(
    lengths.map("Content-Length: {}".format),
    st.sampled_from(["Transfer-Encoding: chunked", "Connection: close", "Content-Encoding: gzip", "x-amz-crc32: 1"]),
    st.tuples(texts, texts).map(": ".join),
)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """Bytes on the connection: a response, mostly one that is damaged."""
    body = draw(bodies)
    status = draw(st.just(200) | st.integers(99, 600))
    lines = [f"HTTP/1.1 {status} .", *draw(st.lists(header_lines, max_size=3))]
    lines += [f"Content-Length: {len(body)}"] * draw(st.integers(0, 1))
    message = "\r\n".join([*lines, "", ""]).encode() + body
    place = draw(st.integers(0, len(message)))
    return draw(st.sampled_from([message, message[:place], message[:place] + draw(st.binary(max_size=5))]))


@slower
@given(messages())
def test_bytes_on_the_connection_are_a_response_or_none(message: bytes) -> None:
    assert asyncio.run(_outcome_of(message)) in {"response", "no response"}


async def _outcome_of(message: bytes) -> str:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n{}")
        writer.write(message)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = urlsplit(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    credentials = ReadOnlyCredentials("AKIDEXAMPLE", "made-up", None)
    transport = FastTransport(
        Endpoint(url, tls=None, proxy=None, connect_timeout_seconds=5, response_timeout_seconds=5),
        Signer(url.netloc, "/", "eu-central-1", "dynamodb", "fuzzer"),
        lambda: credentials,  # type: ignore[arg-type,return-value] # its stubs know keys that are None
        lambda: lambda: credentials,  # type: ignore[arg-type,return-value] # likewise
        fence=lambda: None,
        on_unanswered=lambda: None,
    )
    try:
        await transport.send(b"{}")
    except NoResponseError:
        return "no response"
    finally:
        await transport.close()
        server.close()
    return "response"


# ---- Messages of the queue ------------------------------------------------------------------------------------------

objects = st.fixed_dictionaries(
    {"key": texts.map("incoming/{}".format)},
    optional={"size": st.integers(), "etag": texts, "version-id": texts, "versionId": texts, "sequencer": texts},
)
buckets = st.fixed_dictionaries({"name": st.just("landing") | texts})
bridged = st.fixed_dictionaries(
    {
        "source": st.just("aws.s3"),
        "detail-type": st.sampled_from(["Object Created", "Object Deleted"]),
        "detail": st.fixed_dictionaries({"bucket": buckets, "object": objects}),
    }
)
records = st.fixed_dictionaries(
    {
        "eventName": st.sampled_from(["ObjectCreated:Put", "s3:ObjectCreated:Copy", "ObjectRemoved:Delete"]),
        "s3": st.fixed_dictionaries({"bucket": buckets, "object": objects}),
    }
)
events = bridged | st.fixed_dictionaries({"Records": st.lists(records, max_size=3)})
event_names = ["Event", "Records", "source", "detail", "key", "name", "size", "versionId"]


@fuzzed
@given(damaged(events, event_names).map(json.dumps) | texts | st.just(100_000 * "["))
def test_a_message_announces_files_or_is_unknown(body: str) -> None:
    try:
        files = announced_files(body, prefix="incoming/")
    except UnknownMessageError as error:
        problem = str(error)
    else:
        problem = ""
        _are_right(files)
    assert problem.isprintable()


def _are_right(files: list[SensorFile]) -> None:
    for file in files:
        assert file.key.startswith("incoming/")
        assert file.name.isprintable()
        assert file == SensorFile.model_validate(file.model_dump(mode="json"))


@fuzzed
@given(texts.map("incoming/{}".format))
def test_a_key_comes_out_as_it_went_in(key: str) -> None:
    message = {"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": "b-b"}, "object": {"key": quote_plus(key)}}}
    try:
        found = [file.key for file in announced_files(json.dumps({"Records": [message]}), prefix="incoming/")]
    except UnknownMessageError:
        assert "\x00" in key
        return
    assert found == [key] * (not key.endswith("/"))


# ---- Rows -----------------------------------------------------------------------------------------------------------

_SEPARATED: Final = re.compile(r"[;\n]")
_NUMBER: Final = re.compile(r" *[+-]?\d+([.,]\d+)? *\"?")
FORMULA: Final = tuple("=+-@\uff1d\uff0b\uff0d\uff20")
pieces = st.sampled_from([*";,\"' \t\r\n=+-@15a\\", "\uff1d", "\x1b", "\x9b", "\u202e", "\x00", "-5", "=1+1"]) | texts
lines = st.lists(pieces, max_size=12).map("".join).map(lambda text: text.encode("utf-8", "surrogatepass"))


@slower
@given(st.lists(lines | st.binary(max_size=20), max_size=8).map(b"\n".join))
@example(b'0000-0001;"=1+1";-5')
def test_rejected_rows_are_shown_without_controls_and_formulas(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        file = validate_file(BytesIO(content), Path(folder), ValidationSettings())
        stored = file.rejects_path.read_text(encoding="utf-8") if file.rejects_path else ""
    assert [] == [reject for reject in file.first_rejects if not reject.text.isprintable()]
    assert stored.replace("\n", "").isprintable()
    assert (1 if stored else 0) + file.counts.rejected == stored.count("\n")
    cells = [cell for row in csv.reader(stored.splitlines()) for cell in row]
    later = [cell for cell in _SEPARATED.split(stored) if not _NUMBER.fullmatch(cell)]
    assert [] == [cell for cell in cells if cell.lstrip(" ").startswith(FORMULA)]
    assert [] == [cell for cell in later if cell.lstrip(' "').startswith(FORMULA)]


# ---- Feeds ----------------------------------------------------------------------------------------------------------

known = [SENSOR_READINGS.as_document()]
known += [json.loads(path.read_bytes()) for path in sorted((PROJECT / "deployments" / "feeds").iterdir())]
property_names = ["name", "type", "format", "pattern", "constraints", "primaryKey", "fields", "prefix", "minimum"]


@fuzzed
@given(damaged(st.sampled_from(known), property_names) | anything)
def test_a_descriptor_is_a_feed_or_its_faults_are_named(document: object) -> None:
    try:
        feed = parse_feed(document, "the descriptor")
    except FeedInvalidError as error:
        faults, text = error.faults, str(error)
    else:
        _is_written_and_read(feed)
        return
    assert faults
    assert text.replace("\n", "").isprintable()


def _is_written_and_read(feed: Feed) -> None:
    assert feed == parse_feed(feed.as_document(), "the descriptor")
    assert isinstance(feed, Feed)
