"""The steps of a run: what is made, in which order, from what, and which of them ask the private records. Said once."""

from collections.abc import Callable
from typing import NamedTuple

from dpsynth.methods.method import Method, PrivateStep
from dpsynth.params import Params
from dpsynth.stages import evaluate


class Step(NamedTuple):
    """An artifact of a run.

    Attributes:
        kind: its name, in a run and in its folder's; stage: whose notebook makes it.
        inputs: what its work may have arguments for; a work gets those that it has.
        column: of the method's row, which says what work it is; or `work` itself, the same for all methods.
        private: it asks the private records, under a mechanism of the plan.
        twin: kind of what stands in its place in the non-private twin: that learns without clip and noise, and asks the
            same before.
        model: the step whose model it draws from.
        after: questions of the plan that come before it and are no inputs of it.
        only: runs that have it; None for all.
    """

    kind: str
    stage: str
    inputs: tuple[str, ...] = ()
    column: str = ""
    work: Callable | None = None
    private: bool = False
    twin: str = ""
    model: str = ""
    after: tuple[str, ...] = ()
    only: Callable[[Params], bool] | None = None


def on_convnet(p: Params) -> bool:
    """Whether a run is measured on the features of our own convnet: grey images are, without Inception's file."""
    return p.shape[0] == 1 and not p.inception


STEPS = (
    Step("encoder", "query", ("public",), "encoder"),
    Step("prior", "query", (), "prior", private=True),
    Step("release", "query", ("encoder",), "release", private=True),
    Step("corpus", "selection", ("public", "release"), "corpus"),
    Step("base", "pretrain", ("encoder", "corpus"), "base"),
    Step("probe", "finetune", ("encoder", "release", "corpus", "base"), "probe", private=True),
    Step("synthesiser", "finetune", ("encoder", "release", "corpus", "base", "probe"), "learn", private=True,
         twin="twin", after=("prior",)),
    Step("samples", "evaluate", ("prior",), work=evaluate.draw, model="synthesiser"),
    Step("floor", "evaluate", ("corpus",), work=evaluate.floor),
    Step("pretrained", "evaluate", ("prior",), work=evaluate.draw, model="base"),
    Step("real", "evaluate", ("private",), work=evaluate.real),
    Step("extractor", "evaluate", ("glyphs",), work=evaluate.train_extractor, only=on_convnet),
    Step("measurement", "evaluate", ("extractor", "held_out", "samples"), work=evaluate.measure),  # one a row
)  # fmt: skip
STEP_OF = {step.kind: step for step in STEPS}
STAGES = tuple(dict.fromkeys(step.stage for step in STEPS))
STAGE_OF = {kind: step.stage for step in STEPS for kind in (step.kind, step.twin) if kind}


def private_steps(row: Method) -> dict[str, PrivateStep]:
    """A method's accesses to the private records by column, in the order in which they are made."""
    columns = {step.column: getattr(row, step.column) for step in STEPS if step.private}
    return {column: asked for column, asked in columns.items() if asked}
