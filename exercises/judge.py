"""What a replay sees in a copy of the package, in words; then the tests that catch its bug, as they stand.

Run in the copy, as `python .../exercises/judge.py 3 TEST ...`. Each replay asks the real verbs of made-up records, with
coins that are known, and compares what comes back with what the plan says.
"""

import contextlib
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn


class Seen(NamedTuple):
    """What a replay saw, in words, and whether it is as it should be."""

    words: str
    good: bool


KEY, OTHER_KEY = bytes(range(32)), bytes(32)


def charge(mechanism, key: bytes = KEY):
    """The permission to ask toy records under this mechanism."""
    from dpsynth.privacy import Charge, Coins, Plan

    return Charge(mechanism, Plan("toy", 9, 10.0, 1e-5, (mechanism,)), "release", Coins(key))


def toy(bright: list[bool], labels: Tensor | None = None, n_classes: int = 1):
    """Records of one pixel: 1 where bright, -1 where dark."""
    from dpsynth.privacy import Private

    images = torch.tensor([255 if one else 0 for one in bright], dtype=torch.uint8).reshape(-1, 1, 1, 1)
    labels = torch.zeros(len(bright), dtype=torch.int64) if labels is None else labels
    names = tuple(map(str, range(n_classes)))
    return Private(name="toy", images=images, labels=labels, classes=names, n_records=9, builtin=True)


def stepped(records, views: int = 1, divisor: float = 1.0, with_fakes: bool = False) -> float:
    """A step of a network of one weight on these records, all drawn, almost without noise; in units of C."""
    from dpsynth.privacy import Fakes, Gradients, PerExample

    torch.manual_seed(0)
    model = PerExample(nn.Linear(1, 1, bias=False))
    mechanism = Gradients("dp_sgd", 1.0, 1, 1e-9, 1.0, views, divisor)
    value = lambda x, y, draws: 100 * model(x.flatten(1))[:, 0]  # noqa: E731
    fakes = torch.tensor([1.0, -1.0, 1.0, 1.0, 1.0, 1.0]).reshape(-1, 1, 1, 1)
    beside = Fakes(fakes, torch.zeros(len(fakes), dtype=torch.int64), value) if with_fakes else None
    records.gradient(model, value, charge(mechanism), 0, 8, beside)
    step = model.parameters[0].grad.item()
    model.close()
    return step


def noise_of_a_histogram() -> Seen:
    """Exercise 1."""
    from dpsynth.privacy import Counts

    planned = Counts("query", 1, 4.0)
    drawn = [
        toy([]).count(lambda x, y, draws: y[:, None], 20_000, charge(planned, key)) for key in (KEY, KEY, OTHER_KEY)
    ]
    noise, again, other = (counts.double().numpy() for counts in drawn)
    mean, deviation, far = noise.mean(), noise.std(), (np.abs(noise) > 2 * planned.scale).mean()
    words = (
        f"No records were asked, so what came back is noise: mean {mean:.2f}, deviation {deviation:.2f}, and {far:.1%} "
        f"of it further out than twice the planned deviation of {planned.scale:g}. A Gaussian has mean 0, and 3 to 5 % "
        "there."
    )
    if (noise == other).all() or (noise != again).any():
        return Seen(
            f"{words} And it is not of the charge's coins: one key must give it again, another key must not.", False
        )
    return Seen(words, abs(mean) < 0.2 and abs(deviation - planned.scale) < 0.2 and 0.025 < far < 0.055)


def views_of_a_record() -> Seen:
    """Exercise 2."""
    moved = abs(stepped(toy([True]), views=8) - stepped(toy([]), views=8))
    words = f"A record with 8 views was added: the sum moved by {moved:.2f} C. The noise is made for 1 C."
    return Seen(words, 0.9 < moved <= 1)


def divisor_of_a_step() -> Seen:
    """Exercise 3."""
    others = [True] * 4
    moved = abs(stepped(toy([*others, False]), divisor=10.0) - stepped(toy(others), divisor=10.0))
    words = (
        f"Four records pull one way; a fifth, which pulls the other way, moved the step by {moved:.2f} C. With a "
        "divisor of 10 the noise is made for 0.10 C."
    )
    return Seen(words, 0.09 < moved <= 0.1)


def noise_of_two_keys() -> Seen:
    """Exercise 4."""
    from dpsynth.privacy import Gradients, PerExample

    drawn, again = {}, True
    for key in (KEY, OTHER_KEY, KEY):
        model = PerExample(nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)))
        asked = charge(Gradients("dp_sgd", 1.0, 2, 1.0, 1.0, 1, 1.0), key)
        for step in range(2):
            toy([]).gradient(model, lambda x, y, d, model=model: model(x.flatten(1))[:, 0], asked, step, 8)
            for number, parameter in enumerate(model.parameters):
                noise = parameter.grad.clone()
                again &= torch.equal(drawn.setdefault((key, step, number), noise), noise)
        model.close()
    first = drawn[KEY, 0, 0]
    pairs = {"secret keys": drawn[OTHER_KEY, 0, 0], "steps": drawn[KEY, 1, 0], "layers": drawn[KEY, 0, 1]}
    same = [name for name, other in pairs.items() if torch.equal(first, other)]
    words = f"The noise of two different {', of two different '.join(same)} is the same, number by number."
    if same or not again:
        return Seen(words if same else "The same key did not give the same noise again.", False)
    return Seen("The noise of two keys, of two steps and of two layers differs, and a key gives its own again.", True)


def fakes_beside_records() -> Seen:
    """Exercise 5."""
    moved = 8 * abs(*np.diff([stepped(toy([False] * n), divisor=8.0, with_fakes=True) for n in (1, 2)]))
    words = f"A second record was added beside the fakes: the sum moved by {moved:.2f} C. The noise is made for 1 C."
    return Seen(words, 0.9 < moved <= 1 + 1e-6)


def sizes_of_batches() -> Seen:
    """Exercise 6."""
    from dpsynth.privacy import Gradients, PerExample

    n, rate, steps = 100, 0.3, 200
    table = nn.Embedding(n, 1)
    model = PerExample(table)
    asked = charge(Gradients("dp_sgd", rate, steps, 1e-9, 1.0, 1, 1.0))
    records, sizes = toy([True] * n, torch.arange(n), n), []
    for step in range(steps):  # each record moves a weight of its own, so that a quiet step tells who took part
        records.gradient(model, lambda x, y, draws: model(y)[:, 0], asked, step, 64)
        sizes.append(int((table.weight.grad[:, 0] > 0.5).sum()))
    spread, expected = np.std(sizes), (n * rate * (1 - rate)) ** 0.5
    words = (
        f"In {steps} steps at rate {rate:g}, between {min(sizes)} and {max(sizes)} of {n} records took part: a "
        f"deviation of {spread:.1f}. A coin for each record gives {expected:.1f}."
    )
    return Seen(words, 0.8 < spread / expected < 1.25 and abs(np.mean(sizes) - n * rate) < 1.5)


REPLAYS: dict[int, Callable[[], Seen]] = {
    1: noise_of_a_histogram, 2: views_of_a_record, 3: divisor_of_a_step, 4: noise_of_two_keys,
    5: fakes_beside_records, 6: sizes_of_batches,
}  # fmt: skip


def main(number: int, tests: list[str]) -> int:
    """Print what the replay saw and how each test ended; 0 if all is well."""
    sys.path.insert(0, str(Path.cwd()))
    try:
        seen = REPLAYS[number]()
    except Exception as error:  # of a reader's unfinished edit
        seen = Seen(f"The replay ended with an error: {type(error).__name__}: {error}", False)
    print(f"replay  {seen.words}")
    with contextlib.redirect_stdout(io.StringIO()):
        ended = {test: pytest.main(["-x", "-q", "-p", "no:cacheprovider", test]) for test in tests}
    for test, code in ended.items():
        print(f"test    {test.partition('::')[2]}: {'failed' if code else 'passed'}")
    return int(not seen.good or any(ended.values()))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
