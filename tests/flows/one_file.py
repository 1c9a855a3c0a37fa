"""One file with duplicates and bad rows, and the table that it leaves, whoever writes it."""

from decimal import Decimal
from typing import Final

from prefect import flow

from blocks.domain.models import FileReport, SensorFile
from flows.loading.ingest_file import ingest_file
from flows.loading.large_files import LargeFiles
from tests.support.world import World

SENSORS: Final = [f"0077-{number:04d}" for number in range(40)]
ROWS: Final = [f"{sensor},{1_483_906_366 + second},{second}.{sensor[-2:]}" for second in range(3) for sensor in SENSORS]
AGAIN: Final = [f"{sensor},1483906366,99.5" for sensor in SENSORS[::3]]
BAD: Final = ["0077-0001,soon,1", "nonsense", "0077-0002,1483906366,much"]

Table = dict[tuple[str, str], Decimal]

EXPECTED: Final[Table] = {
    (sensor, second): Decimal(value) for sensor, second, value in (row.split(",") for row in ROWS + AGAIN)
}
"""What the table holds afterwards: the file's last word on each key."""


@flow
def load(file: SensorFile, large_files: LargeFiles) -> FileReport:
    """One file, as the main flow has it loaded, and no email."""
    [report] = ingest_file(file, large_files)
    return report


def table_after(world: World, large_files: LargeFiles) -> Table:
    """What the table holds of the file's sensors when it has been loaded; they are taken out again."""
    text = "\n".join([*BAD, *ROWS, *AGAIN])
    file = SensorFile.model_validate(world.put(text, f"incoming/by-{large_files.written_by}.csv"))
    report = load(file, large_files)
    assert (len(EXPECTED), len(AGAIN), len(BAD)) == (report.loaded, report.replaced, report.rejected)
    table = world.aws.session.resource("dynamodb", endpoint_url=world.aws.endpoint_url).Table(
        world.outputs.readings_table_name
    )
    items = [item for item in table.scan()["Items"] if item["sensor_id"] in SENSORS]
    with table.batch_writer() as batch:
        for item in items:
            batch.delete_item(Key={"sensor_id": item["sensor_id"], "timestamp": item["timestamp"]})
    return {(str(item["sensor_id"]), str(item["timestamp"])): Decimal(str(item["value"])) for item in items}
