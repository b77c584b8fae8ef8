"""The steps of `dpsynth.bench` on a GPU: ordinary, ours and Opacus's, one process, with memory and the card's name.

`python -m dpsynth.bench.gpu [--only WIDTH,SIZE,VIEWS ...] [--seconds S] [--tiny]` writes build/bench-gpu.csv and prints
ratios beside their goals. Most of the time of a setting is compiling. Opacus runs at the batch that it is quickest at,
of those that fit. `--tiny` rehearses it all where there is no GPU; its numbers mean nothing.
"""

import argparse
import contextlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import nn

from dpsynth import device, project, terminal
from dpsynth.bench.steps import CLASSES, Bench, Setting
from dpsynth.mistakes import ended, mistakes
from dpsynth.models import diffusion, training
from dpsynth.models.pixels import scaled
from dpsynth.privacy.engine.philox import DeviceDraws

ROWS = 8192  # at once, at 32 pixels and 80 channels
SETTINGS = [
    (width, size, views) for width, size in ((80, 32), (48, 32), (128, 32), (80, 64)) for views in (1, 8)
]  # the first, which the goals are of, comes first
OPACUS_ROWS = (128, 256, 512, 1024, 2048)
GOALS = {1: 0.5, 8: 0.75}  # of the compiled ordinary step, by views


class Timed(NamedTuple):
    """Of a step: median seconds, quartiles, largest memory in GiB, share of the time in which the GPU worked, and
    seconds of the first one, which compiles."""

    seconds: float
    quartile1: float
    quartile3: float
    GiB: float
    busy: float
    first: float


class OnGpu(Bench):
    """The steps of one setting where networks compute; draws of losses are made there for all of them."""

    def __init__(self, setting: Setting):
        super().__init__(setting)
        self.images_there, self.labels_there = device.put(self.images), device.put(self.labels)
        self.everyone = device.put(self.everyone)
        self.key, self.step = device.put(torch.tensor([1, 2])), device.put(torch.tensor(0))

    def network(self, precision: torch.dtype) -> diffusion.Denoiser:
        """As of `Bench`."""
        return device.placed(super().network(precision))

    def losses(self, model: Callable, rows: torch.Tensor) -> torch.Tensor:
        """As of `Bench`, of `rows` on the device."""
        draws, views = DeviceDraws(self.key, self.step, rows, self.at.views), self.at.views
        images, labels = (t[rows].repeat_interleave(views, 0) for t in (self.images_there, self.labels_there))
        return diffusion.loss(model, "edm", CLASSES, scaled(images), labels, draws)

    def ordinary(self, model: nn.Module, *, compiled: bool) -> Callable[[], None]:
        """Without privacy: the batch at once."""
        parameters, optimizer = list(model.parameters()), torch.optim.Adam(model.parameters())

        def loss() -> torch.Tensor:
            return self.losses(model, self.everyone).sum() / (self.at.batch * self.at.views)

        loss = torch.compile(loss, dynamic=False) if compiled else loss

        def step() -> None:
            training.assign(parameters, torch.autograd.grad(loss(), parameters))
            optimizer.step()

        return step

    def plain(self, precision: torch.dtype) -> nn.Module:
        """As of `Bench`."""
        return device.placed(super().plain(precision))

    def steps(self) -> dict[str, Callable[[], Callable[[], None]]]:
        """What makes each step, by name."""
        precision = device.precision()
        return {
            "ordinary": lambda: self.ordinary(self.network(precision), compiled=False),
            "ordinary, compiled": lambda: self.ordinary(self.network(precision), compiled=True),
            "ours": partial(self.ours, precision),
        }

    def peers(self) -> dict[str, Callable[[], Callable[[], None]]]:
        """Opacus's, by name."""
        precision = device.precision()
        return {"opacus hooks": partial(self.opacus, precision), "opacus ghost": partial(self.ghost, precision)}


def setting_of(width: int, size: int, views: int, tiny: bool) -> Setting:
    """So many rows that a setting takes about the memory of the first."""
    rows = 16 if tiny else ROWS * 32**2 * 80 // (size**2 * width) // 512 * 512
    return Setting(width=width, size=size, batch=max(1, rows // views), views=views, rows=rows)


def timed(make: Callable[[], Callable[[], None]], seconds: float) -> Timed:
    """Steps for about so many seconds, after the first ones, which compile."""
    device.forget_peak()
    start = time.perf_counter()
    step = make()
    step()
    device.finish()
    first = time.perf_counter() - start
    step()
    device.finish()
    took, begun = [], time.perf_counter()
    while len(took) < 3 or time.perf_counter() - begun < seconds:
        start = time.perf_counter()
        step()
        device.finish()
        took.append(time.perf_counter() - start)
    low, middle, high = statistics.quantiles(took, n=4)
    busy = device.busy_seconds(step) / middle
    return Timed(middle, low, high, device.peak_gib(), busy, first)


def rows_of(setting: Setting, makers: dict[str, Callable], seconds: float) -> Iterator[dict[str, Any]]:
    """Rows of the table: what cannot run says why."""
    for name, make in makers.items():
        row = {**setting._asdict(), "step": name, "card": device.card()}
        try:
            row |= timed(make, seconds)._asdict()
            row["images_per_second"] = setting.batch * setting.views / row["seconds"]
        except (RuntimeError, NotImplementedError, AttributeError, IndexError) as error:
            row["note"] = f"{type(error).__name__}: {error}".split("\n")[0]
        print({name: value for name, value in row.items() if name not in Setting._fields}, flush=True)
        device.free()
        yield row


def measure(width: int, size: int, views: int, seconds: float, tiny: bool) -> list[dict[str, Any]]:
    """Rows of one setting; of Opacus, each batch that was tried."""
    setting = setting_of(width, size, views, tiny)
    print(f"measuring {setting}", flush=True)
    rows = list(rows_of(setting, OnGpu(setting).steps(), seconds))
    if views > 1:  # Opacus clips each view by itself
        return rows
    for batch in (2, 4) if tiny else OPACUS_ROWS:
        small = setting._replace(batch=batch, rows=batch)
        rows += rows_of(small, OnGpu(small).peers(), seconds / 2)
    return rows


def ratios(table: pd.DataFrame) -> pd.DataFrame:
    """The goals, and what was measured, of the first width and size in the table."""
    first = table[(table["width"] == table["width"].iloc[0]) & (table["size"] == table["size"].iloc[0])]
    first = first[first["seconds"].notna()]
    rows = []
    for views, goal in GOALS.items():
        at = first[first["views"] == views].set_index("step")
        if {"ours", "ordinary, compiled"} <= set(at.index):
            ours, ordinary = at.loc["ours"], at.loc["ordinary, compiled"]
            speed = ours["images_per_second"] / ordinary["images_per_second"]
            rows.append((f"speed of ours over the compiled ordinary step, K = {views}", speed, goal))
            rows.append((f"memory of ours over ordinary's, K = {views} (at most)", ours["GiB"] / ordinary["GiB"], 2.0))
            rows.append((f"share of a step in which the GPU works, K = {views}", ours["busy"], 0.9))
    peers = first[first["step"].str.startswith("opacus")]
    ours = first[(first["step"] == "ours") & (first["views"] == 1)]
    if len(peers) and len(ours):
        speed = ours["images_per_second"].iloc[0] / peers["images_per_second"].max()
        rows.append(("speed of ours over Opacus at its best batch, K = 1", speed, 5.0))
    return pd.DataFrame(rows, columns=["ratio", "measured", "goal"]).round(2)


def main(argv: list[str] | None = None) -> int:
    """The command line; see the module."""
    parser = terminal.parser("python -m dpsynth.bench.gpu", __doc__)
    parser.add_argument("--only", nargs="+", type=_setting, help="settings as WIDTH,SIZE,VIEWS in place of all")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each step, after it was compiled")
    parser.add_argument("--tiny", action="store_true", help="16 rows: a rehearsal")
    given = parser.parse_args(argv)
    return ended(lambda: _main(given))


def _main(given: argparse.Namespace) -> None:
    with mistakes():
        device.kind()
    settings = given.only or SETTINGS
    path, rows = project.root() / "build" / "bench-gpu.csv", []
    path.parent.mkdir(parents=True, exist_ok=True)
    for width, size, views in settings:
        with contextlib.suppress(KeyboardInterrupt):  # what was measured is kept
            rows += measure(width, size, views, given.seconds, given.tiny)
        pd.DataFrame(rows).to_csv(path, index=False)
    print(f"\n{ratios(pd.DataFrame(rows)).to_string(index=False)}\n\n{path}")


def _setting(text: str) -> tuple[int, ...]:
    numbers = text.split(",")
    if len(numbers) != 3 or not all(number.isdecimal() and int(number) for number in numbers):
        raise argparse.ArgumentTypeError(f"expected WIDTH,SIZE,VIEWS, as 80,32,8; got {text}")
    return tuple(map(int, numbers))


if __name__ == "__main__":
    sys.exit(main())
