"""An audit of the mechanism in one run: what an attacker who sees every noisy gradient can prove about epsilon.

Steinke, Nasr and Jagielski (2023), "Privacy Auditing with One (1) Training Run", with the white-box Dirac canaries of
Nasr et al. (2023). It sees the sampler, the clip, the noise and the divisor at work. It cannot see what lies outside
them (a query left out of the ledger, a loss that is printed), and it proves little: at epsilon 1 it notices noise that
is a third of what it should be, not noise that is nine tenths. The tests of `tests/privacy` are exact where this is
statistical; this is what one can do to code that one cannot read.
"""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import optimize, stats
from torch import nn

from dpsynth import recipes, store
from dpsynth.budget.calibration import make_plan
from dpsynth.checkpoints import Work
from dpsynth.privacy import Charge, Coins, Gradients, PerExample, Plan, Private
from dpsynth.recipes import Stored, work

RATE, STEPS, CLIP, DELTA = 0.3, 150, 1.0, 1e-5
CONFIDENCE = 0.95
MICROBATCH = 256


@dataclass(frozen=True)
class Audit(Stored):
    """`bound`: epsilon is at least this, at 95 percent confidence, for right guesses `correct` of `guesses`."""

    claim: float
    noise: float
    canaries: int
    guesses: int
    correct: int
    bound: float

    @property
    def refutes(self) -> bool:
        """Whether the mechanism cannot be as private as it claims."""
        return self.bound > self.claim


def both() -> list[Audit]:
    """The audit of DP-SGD as planned, and of a tenth of its noise; made once for all pages.

    Untimed, as the process that makes it may have opened somebody's own records.
    """
    return [store.build(recipes.recipe("audit", audited, {"noise": noise}), timed=False) for noise in (1.0, 0.1)]


@work
def audited(work: Work, *, noise: float) -> Audit:
    """The audit at `noise` times the noise that the plan has."""
    return run(noise)


def run(noise: float = 1.0, *, epsilon: float = 1.0, canaries: int = 2000, seed: int = 0) -> Audit:
    """Audit DP-SGD planned for `epsilon` (delta 1e-5, rate 0.3, 150 steps) on records made for it.

    Canary i, a record of a made-up set, has the gradient C e_i, and is in the set if a fair coin says so. Its score is
    coordinate i of the summed noisy gradients. The number of guesses is chosen on one half of the canaries, and pays
    for itself so; the other half is judged.

    Args:
        noise: multiplies the noise that the plan calibrated: below 1, the planted bug.
    Raises:
        ValueError: fewer than 40 canaries, too few to guess about.
    """
    if canaries < 40:
        raise ValueError(f"Expected canaries={canaries} >= 40: fewer prove nothing")
    present = torch.rand(canaries, generator=torch.Generator().manual_seed(seed)) < 0.5
    scores = _scores(present, noise, epsilon, seed)
    half = canaries // 2
    tried = range(10, half + 1, 10)
    best = max(tried, key=lambda guesses: lower_bound(*_guess(scores[:half], present[:half], guesses), half, DELTA))
    guesses, correct = _guess(scores[half:], present[half:], best)
    return Audit(epsilon, noise, canaries, guesses, correct, lower_bound(guesses, correct, canaries - half, DELTA))


def lower_bound(guesses: int, correct: int, canaries: int, delta: float, confidence: float = CONFIDENCE) -> float:
    """The epsilon that so many right guesses refute: Steinke et al. (2023), Theorem 5.2; 0 if they refute none."""

    def surprise(epsilon: float) -> float:
        right = stats.binom(guesses, 1 / (1 + np.exp(-epsilon)))
        tail = right.sf(correct - 1)
        i = np.arange(1, correct + 1)
        slack = np.max((right.sf(correct - 1 - i) - tail) / i, initial=0.0)
        return tail + 2 * canaries * delta * slack - (1 - confidence)

    if surprise(0.0) >= 0:
        return 0.0
    return float(optimize.brentq(surprise, 0.0, 30.0)) if surprise(30.0) > 0 else 30.0


def _guess(scores: np.ndarray, present: torch.Tensor, guesses: int) -> tuple[int, int]:
    """Call the highest scores present and the lowest absent, half of `guesses` each: guesses made, and right ones."""
    order, each, truth = np.argsort(scores), guesses // 2, present.numpy()
    return 2 * each, int(truth[order[-each:]].sum() + (~truth[order[:each]]).sum())


def _scores(present: torch.Tensor, noise: float, epsilon: float, seed: int) -> np.ndarray:
    n = len(present)
    records = present.nonzero().flatten()
    made_up = Private(
        name="canaries", images=torch.zeros(len(records), 1, 1, 1, dtype=torch.uint8), labels=records,
        classes=tuple(map(str, range(n))), n_records=n, builtin=True,
    )  # fmt: skip
    plan = make_plan("canaries", n, epsilon, DELTA, [Gradients("dp_sgd", RATE, STEPS, 1.0, CLIP, 1, RATE * n)])
    claimed = plan.mechanism("dp_sgd")
    used = Gradients(**{**claimed.__dict__, "noise_multiplier": noise * claimed.noise_multiplier})
    # Records that nobody owns, under coins that everybody knows: no ledger is asked, none is needed.
    charge = Charge(used, Plan("canaries", n, epsilon, DELTA, (used,)), "audit", Coins(seed.to_bytes(32, "big")))
    table = nn.Embedding(n, 1)
    model = PerExample(table)
    total = torch.zeros(n)
    for step in range(STEPS):
        made_up.gradient(model, lambda x, y, draws: 10 * CLIP * model(y)[:, 0], charge, step, MICROBATCH)
        total += table.weight.grad[:, 0]
    return total.numpy()
