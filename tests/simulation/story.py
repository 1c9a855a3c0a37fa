"""The story that each seed tells: files and new versions of them drop while everything fails; then all is well.

It ends when nothing happens any more. What must be true then, and at each moment before, are the invariants.
"""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import count
from random import Random
from typing import Any

from blocks.domain.models import SETTLED, LedgerEntry
from blocks.file_ledger.emails import EMAIL
from blocks.file_ledger.table import from_item, to_entry
from tests.simulation.aws.events import LATEST_SECONDS
from tests.simulation.aws.s3 import Version
from tests.simulation.faults import Faults
from tests.simulation.prefect_server import SILENT_SECONDS, Chances
from tests.simulation.processes import Process
from tests.simulation.product import BUCKET, Product
from tests.simulation.world import World

CHAOS_SECONDS = (*[500.0] * 7, 1500.0)
"""How long things fail, drawn once for each seed; longer than late rows take, in some."""

QUIET_SECONDS = 4 * 3600.0
"""How long afterwards everything has time to come to its end."""


SERVICES = ("dynamodb", "s3", "readings", "sesv2")

SAME_AS_BEFORE = 0.1
"""Share of the versions that have the content of the one before."""

RELAYED_SECONDS = 100.0
"""How long, at most, the relays of the chaos go on beside the last one."""

RESUMED_FOR_SECONDS = 100.0
"""After a stall, a relay may still announce what it had received."""


def ownership(world: World) -> None:
    """Files drop, everything fails for a while, and in the end every invariant holds."""
    product, chaos_seconds = Product(world, _chances(world)), world.random.choice(CHAOS_SECONDS)
    product.patience_seconds = world.random.choice((20.0, 200.0))
    with product.installed():
        _drop_files(product)
        _take_service_down(world)
        for number in range(world.random.choice((1, 1, 2))):
            product.start_relay(f"relay-{number + 1}", chaos_seconds + world.random.uniform(0, RELAYED_SECONDS))
        for minute in range(5, 300, 10):
            world.scheduler.at(minute * 60 + world.random.uniform(0, 30), product.start_sweep)
        world.run(chaos_seconds)
        world.network.faults = Faults()
        product.server.chances = Chances(0, 0, 0, 0, 0)
        product.start_relay("relay-at-last", faults=False)
        product.invariants.look_from(chaos_seconds + SILENT_SECONDS)  # slots of runs that died by then are free
        world.run(chaos_seconds + QUIET_SECONDS, ended=lambda: _is_quiet(product))
        assert not product.invariants.problems, (
            f"{len(product.invariants.problems)} problems: {product.invariants.problems[0]}"
        )
        check_rows(product)
        check_objects(product)
        check_entries(product)
        check_emails(product)
        check_quiet(product)


def _chances(world: World) -> Chances:
    drawn = [world.random.choice((0.0, 0.05, 0.3)) for _ in range(5)]
    return Chances(*drawn)


def _take_service_down(world: World) -> None:
    """In some seeds, one service fails for minutes: loads and emails end without success, and are tried again."""
    random, service = world.random, world.random.choice((*SERVICES, "", "", ""))
    since = random.uniform(0, 300)
    world.network.outages[service] = (since, since + random.uniform(30, 200))


def _drop_files(product: Product) -> None:
    """Some keys, each with some versions, whose rows overlap; some versions come within a second, some are the same."""
    world, random, numbers = product.world, product.world.random, count(1)
    drop_after = partial(_drop_after, product, numbers, random.choice((0.0, 0.2)))
    product.bucket.on_deleted.append(drop_after)
    product.bucket.on_created.append(lambda _, version: drop_after(version))
    for key in range(random.choice((1, 1, 2, 3))):
        at = random.uniform(0, 200)
        for _ in range(random.choice((1, 2, 2, 3, 4))):
            content = _content(random, f"sensor-{key}", next(numbers))
            again = random.random() < SAME_AS_BEFORE
            world.scheduler.at(at, _drop, product, f"incoming/file-{key}.csv", content, again)
            product.last_drop_at = max(product.last_drop_at, at + 1)
            at += random.choice((random.uniform(0, 1), random.uniform(1, 20), random.uniform(20, 150)))


def _drop(product: Product, key: str, content: str, again: bool) -> None:  # noqa: FBT001 - the scheduler calls it
    """Drop the content; or, again, that of the version before."""
    product.drop(key, product.uploads[key][-1] if again and key in product.uploads else content)


def _drop_after(product: Product, numbers: Iterator[int], share: float, version: Version) -> None:
    """Now and then, drop another version when one was copied or has left: its run has not ended its claim yet."""
    world, random = product.world, product.world.random
    key = f"incoming/{version.key.partition('/')[2].partition('.')[0]}.csv"
    if version in product.bucket.versions[key] and not version.is_marker and version is product.bucket.current(key):
        return  # it has just landed
    if random.random() >= share or world.scheduler.now > min(CHAOS_SECONDS):
        return
    content = _content(random, key.replace("incoming/file", "sensor").removesuffix(".csv"), next(numbers))
    at = world.scheduler.now + random.choice((0, random.uniform(0, 1)))
    world.scheduler.at(at, product.drop, key, content)
    product.last_drop_at = max(product.last_drop_at, at + 1)


def _content(random: Random, sensor: str, number: int) -> str:
    """Some rows, whose value is the number of the file; or a file that is refused."""
    if random.random() < 0.05:
        return f"refuse\n{number}"
    seconds = sorted(random.sample(range(6), random.randint(1, 6)))
    return "\n".join(f"{sensor},{second},{number}" for second in seconds)


def _is_quiet(product: Product) -> bool:
    """Whether nothing is left to happen but looks."""
    world = product.world
    if int(world.scheduler.now) == product.quiet_asked_at:  # asked before each action; once a second will do
        return False
    product.quiet_asked_at = int(world.scheduler.now)
    return (
        world.scheduler.now > product.last_drop_at + (LATEST_SECONDS + 60 if _events_come_late(world) else 60)
        and not product.bucket.keys("incoming/")
        and not product.queue.messages
        and world.scheduler.now > world.network.last_arrivals.get(product.server.name, 0.0)
        and all(run.is_over or run.is_forgotten for run in product.server.runs.values())
        and not any("waits_for" in item for item in world.dynamodb.tables["files"].items())
        and all(process.ended or _only_looks(process) for process in world.processes)
    )


def _only_looks(process: Process) -> bool:
    """Whether it is a relay that is not stalled: a stalled one may still announce what it has received."""
    return process.name.startswith("relay") and process.stalled_until + RESUMED_FOR_SECONDS <= process.scheduler.now


def _events_come_late(world: World) -> bool:
    return bool(world.faults.late_delivery or world.faults.repeated_delivery)


# ---- Invariants ---------------------------------------------------------------------------------------------------


def check_rows(product: Product) -> None:
    """Each row is that of the newest version that has it; a row that the newest lacks may be of an older one."""
    entries = _entries(product)
    table = product.world.readings.rows
    for key, contents in product.uploads.items():
        loaded = [_rows(content) for content in contents if not content.startswith("refuse")]
        if contents[-1].startswith("refuse"):
            archived = [entry for (k, _), entry in entries.items() if k == key and entry.status == "archived"]
            if not archived:
                continue
            newest = max(archived, key=lambda entry: entry.epoch)
            loaded = loaded[: 1 + max(n for n, rows in enumerate(loaded) if len(rows) == newest.accepted)]
            continue
        for row, value in loaded[-1].items():
            assert table.get(row) == value, f"{key} {row}: {table.get(row)} in the table, {value} in the newest version"
        values = {row: [rows[row] for rows in loaded if row in rows] for rows in loaded for row in rows}
        order = {value: number for number, rows in enumerate(loaded) for value in rows.values()}
        archived_values = _archived_values(product, key)
        for row, known in values.items():
            newest_archived = [value for value in known if value in archived_values]
            if newest_archived:
                found = table.get(row)
                assert found in known, f"{key} {row}: {found} was in no version"
                assert order[found or ""] >= order[newest_archived[-1]], f"{key} {row}: {found} is of an older version"


def check_objects(product: Product) -> None:
    """`incoming/` is empty, and each archived version is where its entry says."""
    left = product.bucket.keys("incoming/")
    assert not left, f"left in incoming/: {left}"
    for (key, version), entry in _entries(product).items():
        if entry.status in ("archived", "refused"):
            where = str(entry.archived_to).removeprefix(f"s3://{BUCKET}/")
            original, copy = _object(product, key, version), product.bucket.current(where)
            assert copy, f"{key} {version} is not at {where}"
            assert original is None or copy.content == original.content, f"{where} has another content"


def check_entries(product: Product) -> None:
    """Each known version is settled, the newest one is known, no claim is held, and nothing is due."""
    entries = _entries(product)
    for (key, version), entry in entries.items():
        assert entry.status in SETTLED, f"{key} {version} is {entry.status}"
    for key, contents in product.uploads.items():
        newest = _versions(product, key)[len(contents) - 1]
        status = entries[key, newest.version_id or ""].status if (key, newest.version_id) in entries else "not known"
        wanted = "refused" if contents[-1].startswith("refuse") else "archived"
        same_as_before = contents[-1] in contents[:-1]
        assert status == wanted or (same_as_before and status == "not known"), f"the newest {key} is {status}"
    for attributes in _items(product):
        if str(attributes["version"]).startswith("#"):
            assert not attributes.get("claim_id"), f"still claimed: {attributes}"
            assert not attributes.get("waits_for"), f"still due: {attributes}"


def check_emails(product: Product) -> None:
    """Each settled version was emailed about, and at most once more for each failure of a run that sent emails."""
    mails = product.world.ses.mails
    counts = Counter(line for mail in mails for line in mail.content.decode().split("\n"))
    for (key, version), entry in _entries(product).items():
        assert counts[f"s3://{BUCKET}/{key}@{version} {entry.status}"], (
            f"no email about {key} {version}, which is {entry.status}"
        )
    emails = {attributes["email_id"] for attributes in _items(product) if attributes["version"] == EMAIL}
    if not any(product.world.faults.rates.values()) and not any(product.world.network.outages):
        assert len(mails) <= 2 * len(emails), f"{len(mails)} mails of two messages each, {len(emails)} emails"


def check_quiet(product: Product) -> None:
    """A sweep that begins now finds nothing to announce, and no run is started, for an email neither.

    A message that was sent before may still arrive at SES.
    """
    world = product.world
    world.run(world.scheduler.now + RESUMED_FOR_SECONDS)  # a look that began before may still start a run
    announced, runs = len(product.announced_by_sweep), len(product.server.runs)
    product.start_sweep()
    world.run(world.scheduler.now + 300)
    assert len(product.announced_by_sweep) == announced, f"announced: {product.announced_by_sweep[announced:]}"
    assert len(product.server.runs) == runs, "a run was started although all was quiet"


def _entries(product: Product) -> dict[tuple[str, str], LedgerEntry]:
    entries = {}
    for attributes in _items(product):
        if not str(attributes["version"]).startswith("#"):
            entry = to_entry(attributes)
            entries[entry.key, entry.version] = entry
    return entries


def _items(product: Product) -> Iterator[dict[str, Any]]:
    items: Any = product.world.dynamodb.tables["files"].items()
    return map(from_item, items)


def _versions(product: Product, key: str) -> list[Version]:
    return [version for version in product.bucket.versions.get(key, ()) if not version.is_marker]


def _object(product: Product, key: str, version: str) -> Version | None:
    return product.bucket.find(key, version)


def _archived_values(product: Product, key: str) -> set[str]:
    """The values of the versions of the key that were archived."""
    entries = _entries(product)
    archived = {v for (k, v), entry in entries.items() if k == key and entry.status == "archived"}
    contents = [each.content.decode() for each in _versions(product, key) if each.version_id in archived]
    return {value for content in contents for value in _rows(content).values()}


def _rows(content: str) -> dict[tuple[str, int], str]:
    rows = (line.split(",") for line in content.split())
    return {(sensor, int(second)): value for sensor, second, value in rows}
