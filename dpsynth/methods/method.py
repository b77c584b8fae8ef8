"""What a method is: one choice a stage, and the options that its choices depend on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pydantic import Field

from dpsynth.stages import label_prior
from dpsynth.strict import Strict


class Options(Strict):
    """What every method lets one choose; each family has its own model, and refuses unknown keys."""

    prior: Literal["uniform", "noisy"] = Field("uniform", description="labels of samples: public, or released once")


@dataclass(frozen=True)
class PrivateStep:
    """One access to the private records.

    Attributes:
        name: of its mechanism in the plan.
        release: the work that asks, `(work, private, inputs..., permit, *, settings...)`.
        mechanism: what that costs, not yet calibrated: of a learner `(*, settings...)`, of any other question
            `(rule, *, settings...)`, where `rule(votes)` is the noise multiplier that public constants give it.
        without_noise: of a learner, the same for the non-private twin; None, if the method has no twin.
        estimate_minutes: of a learner, `(base, mechanism, *, settings...)`, from public data alone.
    """

    name: str
    release: Callable
    mechanism: Callable
    without_noise: Callable | None = None
    estimate_minutes: Callable | None = None


LABEL_COUNTS = PrivateStep("label_histogram", label_prior.label_histogram, label_prior.mechanism)


@dataclass(frozen=True)
class Method:
    """One row of the table: what each stage does; None where it does nothing.

    `encoder`, `corpus` and `base` are works that see public data and earlier releases. `prior` asks for the labels'
    frequencies, `release` once before all training, `probe` through the base before `learn` learns from the records.

    Attributes:
        options: of the method, a model that refuses unknown keys.
        settings: what the row fixes of the settings that its works ask for and its options do not name.
        page: the notebook below notebooks/methods/ that tells its run; RPGen's five do, where there is none.
        adapt: of the options, the columns that they change, where they change more than settings.
    """

    paper: str
    options: type[Options]
    base: Callable
    learn: PrivateStep
    encoder: Callable | None = None
    release: PrivateStep | None = None
    corpus: Callable | None = None
    probe: PrivateStep | None = None
    prior: PrivateStep | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    page: str | None = None
    adapt: Callable[[Any], dict[str, Any]] | None = None

    def having(self, options: Options) -> "Method":
        """The row as its options have it."""
        row = replace(self, prior=LABEL_COUNTS) if options.prior == "noisy" else self
        return replace(row, **self.adapt(options)) if self.adapt else row
