"""What parameters, options and parameter files are made of: models that refuse unknown keys and silent conversion."""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _number(value: Any) -> Any:
    """YAML 1.1 and papermill deliver `1e-5` and `inf` as strings; those, and only those, become floats."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


Real = Annotated[float, BeforeValidator(_number)]
# What the accountant can compose and the discrete Gaussian can draw; none if left to the rule of the plan.
Noise = Annotated[Real, Field(ge=0.05, le=1e5)] | None


class Strict(BaseModel):
    """Frozen, no unknown keys, no silent conversion (`true` is not a number, 3.0 is not a count)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=True)
