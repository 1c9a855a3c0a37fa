"""What is played once in simulated processes, step by step: no seed draws any of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from blocks.domain.models import FileReport, SensorFile
from blocks.file_ledger import FileLedger
from flows.loading.ingest_file import ingest_key
from flows.loading.large_files import LargeFiles
from flows.loading.step_runs import within_task_run
from flows.notification.collecting import EmailCollection
from tests.simulation.faults import Faults
from tests.simulation.prefect_server import Chances
from tests.simulation.product import BUCKET, Product, _blocks
from tests.simulation.world import World

Part = Callable[[Product, FileLedger], None]

KEY = "incoming/a.csv"
ROWS = "sensor-1,1,a"


def played(*parts: Part) -> None:
    """Each part in a process of its own, one after the other; a part may kill its process."""
    with undisturbed_product() as product:
        for number, part in enumerate(parts):
            _play(product, number, part)


@contextmanager
def undisturbed_product() -> Iterator[Product]:
    """The product in a world where nothing goes wrong by itself."""
    with World(1, Faults()) as world:
        product = Product(world, Chances(0, 0, 0, 0, 0))
        with product.installed():
            yield product


def _play(product: Product, number: int, part: Part) -> None:
    world = product.world
    process = world.process(f"part-{number}", lambda: part(product, _blocks().file_ledger), skew=0, faults=False)
    process.properties["flow_run_id"] = f"run-{number}"
    world.run(world.scheduler.now + 5000, ended=lambda: bool(process.ended))
    if process.error:
        raise process.error


def file(key: str = KEY, **named: Any) -> SensorFile:  # noqa: ANN401 - fields
    """The key as an announcement names it."""
    return SensorFile(bucket=BUCKET, key=key, **named)


def ingested(found: SensorFile, email: EmailCollection | None = None, *, force: bool = False) -> list[FileReport]:
    """The reports of a run of `ingest` that is given this key."""
    return ingest_key(found, LargeFiles(), email, within_task_run, force=force)
