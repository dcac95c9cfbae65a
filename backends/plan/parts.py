"""What the plan's models are made of."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, Strict, StringConstraints, model_validator

# Numbers and truths are never made out of text, nor 1 out of `true`.
Whole = Annotated[int, Strict()]
Number = Annotated[float, Strict()]
Truth = Annotated[bool, Strict()]
Text = Annotated[str, StringConstraints(min_length=1)]
Argv = Annotated[tuple[Text, ...], Field(min_length=1)]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, defer_build=True)


class Short(Part):
    """A part that may be written as one text instead, for its first field."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return cls.of_text(value) if isinstance(value, str) else value

    @classmethod
    def of_text(cls, text: str) -> dict[str, Any]:
        """The fields that the text stands for. Raises ValueError where it fits none."""
        return {next(iter(cls.model_fields)): text}

    @classmethod
    def __get_pydantic_json_schema__(cls, core: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        schema = handler(core)
        whole = handler.resolve_ref_schema(schema)
        parts = {key: value for key, value in whole.items() if key not in ("title", "description")}
        head = {key: whole[key] for key in ("title", "description") if key in whole}
        whole.clear()
        whole.update(head | {"anyOf": [parts, {"type": "string"}]})
        return schema
