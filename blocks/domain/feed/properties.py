"""The base of all parts of a descriptor: what is not declared here is refused, and names are those of the standard."""

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic import Field as Property
from pydantic.alias_generators import to_camel


class Descriptor(BaseModel):
    """An object of a descriptor. It is frozen; unknown properties are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True, allow_inf_nan=False
    )

    def as_document(self) -> dict[str, Any]:
        """The JSON object with the properties that were set, under the names of the standard."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class Described(Descriptor):
    """An object that may say what it is, for people and for other tools."""

    schema_uri: str | None = Property(default=None, alias="$schema", description="For other tools: JSON Schema of it.")
    title: str | None = Property(default=None, description="For people.")
    description: str | None = Property(default=None, description="For people.")
