"""The flow parameter that says how files with many rows are written."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

WrittenBy = Literal["threads", "processes", "dask"]


class LargeFiles(BaseModel):
    """How large files are written. Files with fewer rows are always written by the process of the run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    written_by: Annotated[
        WrittenBy,
        Field(
            description="threads: the process of the run. processes: several processes on its machine. "
            "dask: workers of a Dask cluster that have this project installed."
        ),
    ] = "threads"
    from_rows: Annotated[int, Field(ge=1, description="Accepted rows from which a file is large.")] = 1_000_000
    shards: Annotated[
        int, Field(ge=1, le=256, description="Parts that are written at the same time, each by a process or worker.")
    ] = 2
    dask_scheduler: Annotated[
        str | None,
        Field(pattern="^[a-z]+://.+", description="Address of the Dask scheduler, like tcp://scheduler:8786."),
    ] = None

    @model_validator(mode="after")
    def _names_the_cluster(self) -> Self:
        if self.written_by == "dask" and not self.dask_scheduler:
            raise ValueError("dask needs dask_scheduler, the address of its scheduler")
        return self

    def uses_shards(self, rows: int) -> bool:
        """Whether a file with so many accepted rows is written in shards."""
        return self.written_by != "threads" and rows >= self.from_rows
