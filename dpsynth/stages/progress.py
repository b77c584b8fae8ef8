"""Bars of training: functions of the number of steps done.

Those for private records show steps and epsilon, and nothing that would tell of the records.
"""

from collections.abc import Callable

from tqdm import tqdm

from dpsynth import distributed
from dpsynth.privacy import Plan


def public(n_steps: int, desc: str) -> Callable[[int], None]:
    """For training on public images."""
    bar = tqdm(total=n_steps, desc=desc, mininterval=5, disable=distributed.rank() > 0)
    return lambda done: bar.update(done - bar.n)


def silent(n_steps: int, desc: str, plan: Plan | None = None) -> Callable[[int], None]:
    """No rate and no time, which would tell batch sizes; moves ten times in all. With a plan it shows also what so many
    of its learner's steps spent."""
    bar = tqdm(
        total=n_steps, desc=desc, bar_format="{desc}: step {n_fmt}/{total_fmt}{postfix}", mininterval=5,
        disable=distributed.rank() > 0,
    )  # fmt: skip

    def tell(done: int) -> None:
        if done == n_steps or done % max(1, n_steps // 10) == 0:  # between these even a run that ends early tells none
            bar.n = done
            if plan:
                bar.set_postfix_str(f"epsilon so far {plan.spent(done):.3f} of {plan.epsilon:g}", refresh=False)
            bar.refresh()
        if done == n_steps:
            bar.close()

    return tell
