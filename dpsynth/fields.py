"""What parameters and options are made of: frozen models that refuse unknown keys and silent conversion."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict


def _number(value: Any) -> Any:
    """YAML 1.1 and papermill deliver `1e-5` and `inf` as strings; those, and only those, become floats."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


Real = Annotated[float, BeforeValidator(_number)]


class Strict(BaseModel):
    """Frozen, no unknown keys, no silent conversion (`true` is not a number, 3.0 is not a count)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=True)
