"""Bars for learning from private records: they show steps and epsilon, and nothing that would tell of the records."""

from tqdm import tqdm

from dpsynth.privacy import Plan


def silent(n_steps: int, desc: str) -> tqdm:
    """A bar that `tell` moves: no rate and no time, which would tell batch sizes."""
    return tqdm(total=n_steps, desc=desc, bar_format="{desc}: step {n_fmt}/{total_fmt}{postfix}", mininterval=5)


def tell(bar: tqdm, done: int, plan: Plan | None = None) -> None:
    """Say, ten times in all, how many steps are done; with a plan also what so many of its learner's spent."""
    bar.n = done
    if done == bar.total or done % max(1, bar.total // 10) == 0:
        if plan:
            bar.set_postfix_str(f"epsilon so far {plan.spent(done):.3f} of {plan.epsilon:g}", refresh=False)
        bar.refresh()
