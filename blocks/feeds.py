"""The feeds as a Prefect server keeps them: one block for each, which people can edit."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, ClassVar, Self

from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectHTTPStatusError
from prefect_aws.credentials import AwsCredentials
from pydantic import Field as Property
from pydantic import HttpUrl, ValidationError, model_validator

from blocks.domain.errors import BlockInvalidError
from blocks.domain.feed.descriptor import SENSOR_READINGS, Feed, FeedInvalidError, parse_feed
from blocks.domain.feed.selection import Feeds
from blocks.domain.s3_keys import DEFAULT_INCOMING


class FeedBlock(Block):
    """One feed: a kind of file that lands, declared in the words of the Data Package standard.

    Example:
        Which columns do the files of this feed have?
        ```python
        from blocks.feeds import FeedBlock

        feed = FeedBlock.load("BLOCK_NAME").feed
        print([field.name for field in feed.table_schema.fields_])
        ```
    """

    _block_type_name: ClassVar[str] = "Sensor feed"
    _block_type_slug: ClassVar[str] = "sensor-feed"
    _description: ClassVar[str] = "A kind of file: its prefix, columns, key and table, as in docs/reference/feeds.md."
    _documentation_url: ClassVar[HttpUrl | None] = HttpUrl("https://datapackage.org/standard/table-schema/")
    _logo_url: ClassVar[HttpUrl | None] = HttpUrl(str(AwsCredentials._logo_url))  # noqa: SLF001 - the picture of AWS

    descriptor: dict[str, Any] = Property(description="The descriptor, a JSON object; its name is that of the block.")
    deployed: str = Property(
        default="",
        description="Digest of the descriptor that deploy saved. It leaves a descriptor of another digest alone.",
    )

    @model_validator(mode="after")
    def _is_a_feed(self) -> Self:
        try:
            parse_feed(self.descriptor, "the descriptor")
        except FeedInvalidError as error:
            raise ValueError("; ".join(map(str, error.faults))) from error
        return self

    @property
    def feed(self) -> Feed:
        return parse_feed(self.descriptor, f"the block {address(str(self.descriptor.get('name')))}")

    @property
    def is_edited(self) -> bool:
        """Whether the descriptor is another one than `deploy` saved, or was made in the UI."""
        return self.deployed != digest(self.descriptor)


def digest(descriptor: dict[str, Any]) -> str:
    """The same text for descriptors that are equal as JSON."""
    return hashlib.sha256(json.dumps(descriptor, sort_keys=True).encode()).hexdigest()[:16]


def address(name: str) -> str:
    return f"{FeedBlock.get_block_type_slug()}/{name}"


def saved_feed_blocks() -> list[FeedBlock]:
    """The blocks of all feeds on the Prefect server, by their names; none if no deployment has saved any.

    Raises:
        BlockInvalidError: a person has edited a descriptor into one that cannot be used.
    """
    with get_client(sync_client=True) as client:
        try:
            documents = client.read_block_documents_by_type(FeedBlock.get_block_type_slug())
        except PrefectHTTPStatusError as error:
            if error.response.status_code != HTTPStatus.NOT_FOUND:
                raise
            return []  # the server does not know the type of block yet
    return [
        _block(str(document.name), document.data) for document in sorted(documents, key=lambda each: str(each.name))
    ]


def _block(name: str, data: dict[str, Any]) -> FeedBlock:
    try:
        block = FeedBlock.model_validate(data)
    except ValidationError as error:
        problems = [each["msg"].removeprefix("Value error, ") for each in error.errors()]
        raise BlockInvalidError(address(name), problems) from error
    if block.descriptor["name"] != name:
        problem = f"name: it is {block.descriptor['name']}, and that of the block is {name}; they have to be equal"
        raise BlockInvalidError(address(name), [problem])
    return block


def save_feeds(
    feeds: Iterable[Feed], incoming_prefix: str = DEFAULT_INCOMING, rules_of_0_1: Mapping[str, Any] | None = None
) -> list[str]:
    """The addresses of the blocks of these feeds, which are now saved unless a person has edited them.

    Args:
        feeds: as they are in files: their prefixes start with `incoming/`.
        incoming_prefix: what they start with on this server.
        rules_of_0_1: fields of the landing zone's block, which had the rules of the sensor file before there were
            feeds. They are taken over once.

    Raises:
        BlockInvalidError: a person has edited a descriptor into one that cannot be used.
        FeedsConflictError: together with the other feeds of the server they make no sense; nothing is saved.
    """
    known = {block.feed.name: block for block in saved_feed_blocks()}
    wanted = {feed.name: _moved(feed, incoming_prefix) for feed in feeds}
    kept = {name: block for name, block in known.items() if name not in wanted or block.is_edited}
    Feeds([*(block.feed for block in kept.values()), *(feed for name, feed in wanted.items() if name not in kept)])
    for name, feed in wanted.items():
        if name not in kept:
            descriptor = feed.as_document()
            edited = descriptor if known else _with_rules_of_0_1(feed, rules_of_0_1 or {})
            FeedBlock(descriptor=edited, deployed=digest(descriptor)).save(name, overwrite=True)
    return [address(name) for name in sorted(wanted)]


def _with_rules_of_0_1(feed: Feed, rules: Mapping[str, Any]) -> dict[str, Any]:
    """The descriptor of the feed; that of the sensor file with the rules that people had set in the landing zone."""
    descriptor = feed.as_document()
    if feed.name != SENSOR_READINGS.name:
        return descriptor
    fields = {field["name"]: field.setdefault("constraints", {}) for field in descriptor["schema"]["fields"]}
    sensor, second = (fields[name] for name in feed.table_schema.primary_key)
    for constraints, constraint, rule in (
        (sensor, "pattern", "sensor_id_pattern"),
        (second, "minimum", "earliest_timestamp"),
        (descriptor, "rejectLimit", "reject_limit"),
    ):
        if rule in rules and str(rules[rule]) != str(constraints.get(constraint)):
            constraints[constraint] = rules[rule]
    return descriptor


def _moved(feed: Feed, incoming_prefix: str) -> Feed:
    """The feed for files that land under another incoming prefix."""
    if incoming_prefix == DEFAULT_INCOMING or not feed.prefix.startswith(DEFAULT_INCOMING):
        return feed
    prefix = incoming_prefix + feed.prefix.removeprefix(DEFAULT_INCOMING)
    return Feed.model_validate(feed.as_document() | {"prefix": prefix})
