"""How files of many rows are written: what a deployment, or whoever starts a run, sets."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

WrittenBy = Literal["threads", "processes", "dask"]


class LargeFiles(BaseModel):
    """Who writes the rows of large files. Files with fewer rows are always written by the run's own process."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    written_by: Annotated[
        WrittenBy,
        Field(
            description="threads: the run's own process. processes: several on the machine of the run. "
            "dask: workers of a Dask cluster, which have this project installed."
        ),
    ] = "threads"
    from_rows: Annotated[int, Field(ge=1, description="Good rows from which a file is large.")] = 1_000_000
    shards: Annotated[
        int, Field(ge=1, le=256, description="Parts that are written side by side, each by a process or worker.")
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

    def shared_out(self, rows: int) -> bool:
        """Whether so many rows are written in shards."""
        return self.written_by != "threads" and rows >= self.from_rows
