"""What a DP-SGD step costs beside an ordinary one, and beside Opacus's: one process, interleaved repeats, medians.

`python -m dpsynth.bench [--quick]` writes build/bench.csv and build/bench.png, and prints ratios beside their goals.
All steps see the same network, images and batch, and end with Adam. Opacus has no rule for our fused norm, and gets the
same network with library layers. Memory is the largest of a process of the step's own, less what that held
before its first step.
"""

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from opacus.grad_sample import GradSampleModule, GradSampleModuleFastGradientClipping
from opacus.optimizers import DPOptimizer
from torch import nn

from dpsynth import figures, privacy, store
from dpsynth.models import diffusion, training
from dpsynth.models.plain import plain
from dpsynth.privacy import Charge, Coins, Gradients, PerExample, Plan, Private

THREADS, ROWS, CLASSES = 2, 32, 10  # rows: of a micro-batch, one thread's work
F32, BF16 = torch.float32, torch.bfloat16


class Setting(NamedTuple):
    """Images of (channels, size, size), `batch` of them, each seen `views` times; `width` sets the network's size."""

    width: int = 80
    channels: int = 3
    size: int = 32
    batch: int = 64
    views: int = 1


FULL = Setting()
SWEEPS = [
    Setting(width=32), Setting(width=144), Setting(channels=1, size=28), Setting(size=64),
    *(Setting(batch=n) for n in (256, 1024, 4096, 16_384)),
]  # fmt: skip


class Bench:
    """Steps of one setting, each under its name: functions without arguments."""

    def __init__(self, setting: Setting):
        self.at, draws = setting, torch.Generator().manual_seed(0)
        shape = (setting.batch, setting.channels, setting.size, setting.size)
        self.images = torch.randint(0, 256, shape, generator=draws, dtype=torch.uint8)
        self.labels = torch.randint(CLASSES, (setting.batch,), generator=draws)

    def network(self, precision: torch.dtype) -> diffusion.Denoiser:
        """A denoiser without zeroed layers, which would be quicker than life."""
        torch.manual_seed(0)
        model = diffusion.Denoiser(self.at.channels, self.at.size, CLASSES, self.at.width)
        for parameter in model.parameters():
            parameter.data += 0.02 * torch.randn_like(parameter)
        model.precision = precision
        return model.to(memory_format=torch.channels_last)

    def losses(self, model: Callable, rows: torch.Tensor) -> torch.Tensor:
        """Public draws on records `rows`, each `views` times: (views * rows,)."""
        rows = rows.repeat_interleave(self.at.views)
        draws = diffusion.PublicDraws(torch.Generator().manual_seed(int(rows[0])), len(rows))
        return diffusion.loss(model, "edm", CLASSES, privacy.scaled(self.images[rows]), self.labels[rows], draws)

    def ordinary(self, precision: torch.dtype, *, halves: bool) -> Callable[[], None]:
        """Without privacy: the batch at once on all threads, or its parts side by side, as our stages do."""
        model = self.network(precision)
        parameters, optimizer = list(model.parameters()), torch.optim.Adam(model.parameters())
        parts = torch.arange(self.at.batch).split(max(1, ROWS // self.at.views) if halves else self.at.batch)

        def step() -> None:
            def loss(rows: torch.Tensor) -> torch.Tensor:
                return self.losses(model, rows).sum() / (self.at.batch * self.at.views)

            if halves:
                _, gradients = training.gradient(parameters, loss, parts)
            else:
                gradients = torch.autograd.grad(loss(parts[0]), parameters)
            for parameter, g in zip(parameters, gradients, strict=True):
                parameter.grad = g
            optimizer.step()

        return step

    def ours(self, precision: torch.dtype) -> Callable[[], None]:
        """The step of stage 04: Poisson draw at rate 1, clip, noise, Adam."""
        model = self.network(precision)
        optimizer, wrapped = torch.optim.Adam(model.parameters()), PerExample(model)
        mechanism = Gradients("bench", 1.0, 10**6, 1.0, 1.0, self.at.views, float(self.at.batch))
        plan = Plan("bench", self.at.batch, 1.0, 1e-5, (mechanism,))
        made_up = Private(
            name="bench", images=self.images, labels=self.labels, classes=tuple(map(str, range(CLASSES))),
            n_records=self.at.batch, builtin=True,
        )  # fmt: skip
        # Random images that nobody owns, under coins that everybody knows: no ledger is asked, none is needed.
        charge, steps = Charge(mechanism, plan, "bench", Coins(bytes(32))), iter(range(10**6))

        def step() -> None:
            def loss(x: torch.Tensor, y: torch.Tensor, draws: diffusion.Draws) -> torch.Tensor:
                return diffusion.loss(wrapped, "edm", CLASSES, x, y, draws)

            made_up.gradient(wrapped, loss, charge, next(steps), ROWS)
            optimizer.step()

        return step

    def opacus(self, precision: torch.dtype, **how: bool) -> Callable[[], None]:
        """Per-record gradients by Opacus; views are averaged before its clip, which it does not do by itself."""
        module = GradSampleModule(plain(self.network(precision)), loss_reduction="sum", **how)
        optimizer = self._noisy(module)

        def step() -> None:
            optimizer.zero_grad()
            self.losses(module, torch.arange(self.at.batch)).sum().backward()
            for parameter in module.parameters():
                views = parameter.grad_sample.unflatten(0, (self.at.batch, self.at.views))
                parameter.grad_sample = views.mean(1) if self.at.views > 1 else parameter.grad_sample
            optimizer.step()

        return step

    def ghost(self, precision: torch.dtype) -> Callable[[], None]:
        """Opacus's two backward passes (`ghost`): norms first, then the sum of the weighted losses."""
        module = GradSampleModuleFastGradientClipping(
            plain(self.network(precision)), loss_reduction="sum", use_ghost_clipping=True, max_grad_norm=1.0
        )
        optimizer = torch.optim.Adam(module.parameters())

        def step() -> None:
            losses = self.losses(module, torch.arange(self.at.batch))
            losses.sum().backward(retain_graph=True)
            optimizer.zero_grad()
            factors = module.get_clipping_coef()
            module.disable_hooks()
            (factors * losses).sum().backward()
            module.enable_hooks()
            for parameter in module.parameters():
                parameter.grad = (parameter.grad + torch.randn_like(parameter)) / self.at.batch
            optimizer.step()

        return step

    def _noisy(self, module: nn.Module) -> DPOptimizer:
        adam = torch.optim.Adam(module.parameters())
        return DPOptimizer(adam, noise_multiplier=1.0, max_grad_norm=1.0, expected_batch_size=self.at.batch)

    def steps(self) -> dict[str, Callable[[], Callable[[], None]]]:
        """What makes each step of this setting, by name; peers' whole gradients fit small batches only."""
        made = {}
        for precision in (F32, BF16):
            said = str(precision).removeprefix("torch.")
            made[f"ordinary {said}"] = lambda p=precision: self.ordinary(p, halves=False)
            made[f"ordinary {said}, side by side"] = lambda p=precision: self.ordinary(p, halves=True)
            made[f"ours {said}"] = lambda p=precision: self.ours(p)
            if self.at.batch <= FULL.batch:
                made[f"opacus hooks {said}"] = lambda p=precision: self.opacus(p)
        if self.at == FULL:
            made["opacus functorch float32"] = lambda: self.opacus(F32, force_functorch=True)
            made["opacus ghost float32"] = lambda: self.ghost(F32)
        if self.at.batch > FULL.batch:
            return {name: made[name] for name in ("ordinary bfloat16, side by side", "ours bfloat16")}
        return made


def measure(setting: Setting, repeats: int) -> list[dict]:
    """Rows of the table: seconds of each step, interleaved, after a warm-up; what cannot run says why."""
    torch.set_num_threads(THREADS)
    bench, running, rows = Bench(setting), {}, []
    for name, make in bench.steps().items():
        try:
            running[name] = make()
            running[name]()
        except (RuntimeError, NotImplementedError, AttributeError, IndexError) as error:
            running.pop(name, None)
            rows.append({**setting._asdict(), "step": name, "note": f"{type(error).__name__}: {error}".split("\n")[0]})
    seconds = {name: [] for name in running}
    for _ in range(repeats):
        for name, step in running.items():
            start = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - start)
    weights = sum(p.numel() for p in bench.network(F32).parameters())
    for name, values in seconds.items():
        spread = pd.Series(values).quantile([0.25, 0.5, 0.75]).tolist()
        found = dict(zip(("quartile1", "seconds", "quartile3"), spread, strict=True))
        rows.append({**setting._asdict(), "step": name, "weights": weights, **found, "peak_MiB": memory(setting, name)})
    return rows


def memory(setting: Setting, name: str) -> float:
    """Largest resident memory, MiB, of a process that takes two such steps, less what it has before the first."""
    command = [sys.executable, "-m", "dpsynth.bench", "--memory", name, "--setting", json.dumps(setting)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1])


def _peak_mib() -> float:
    """Of this process since it was started, on Linux: rusage would count what its parent held."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024


def ratios(table: pd.DataFrame) -> pd.DataFrame:
    """The goals, and what was measured: speed against the quicker ordinary step and Opacus's quicker precision."""

    def seconds(setting: Setting, *names: str) -> float:
        at = table[(table[list(Setting._fields)] == list(setting)).all(axis=1) & table["step"].isin(names)]
        return at["seconds"].min()

    def peak(setting: Setting, name: str) -> float:
        at = table[(table[list(Setting._fields)] == list(setting)).all(axis=1) & (table["step"] == name)]
        return at["peak_MiB"].iloc[0] if len(at) else float("nan")

    four, rows = FULL._replace(views=4), []
    for said in ("float32", "bfloat16"):
        ordinary = (f"ordinary {said}", f"ordinary {said}, side by side")
        speed = seconds(FULL, *ordinary) / seconds(FULL, f"ours {said}")
        rows.append((f"speed of ours over ordinary's, {said}, K = 1", speed, 0.85))
        speed = seconds(four, *ordinary) / seconds(four, f"ours {said}")
        rows.append((f"speed of ours over ordinary's, {said}, K = 4", speed, 0.95))
    hooks = seconds(FULL, "opacus hooks float32", "opacus hooks bfloat16")
    speed = hooks / seconds(FULL, "ours bfloat16")
    rows.append(("speed of ours, bfloat16, over Opacus hooks' in its better precision", speed, 2.6))
    like = peak(FULL, "ours bfloat16") / peak(FULL, "ordinary bfloat16, side by side")
    rows.append(("peak memory of ours over ordinary's, bfloat16 (at most)", like, 1.5))
    flat = peak(Setting(batch=16_384), "ours bfloat16") / peak(Setting(batch=256), "ours bfloat16")
    rows.append(("peak memory at batch 16,384 over 256 (at most)", flat, 1.05))
    return pd.DataFrame(rows, columns=["ratio", "measured", "goal"]).round(2)


def main() -> int:
    """The command line; see the module."""
    parser = argparse.ArgumentParser(prog="python -m dpsynth.bench", description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="the full set alone, three repeats")
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    parser.add_argument("--setting", type=json.loads, default=list(FULL), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.memory:
        torch.set_num_threads(THREADS)
        step, before = Bench(Setting(*given.setting)).steps()[given.memory](), _peak_mib()
        step()
        step()
        print(round(_peak_mib() - before, 1))
        return 0
    rows = []
    for setting in (FULL, FULL._replace(views=4), *([] if given.quick else SWEEPS)):
        print(f"measuring {setting}", flush=True)
        rows += measure(setting, 3 if given.quick else 9 if setting.batch <= 64 else 2)
    table = pd.DataFrame(rows)
    path = store.root() / "build" / "bench.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, index=False)
    print(table.drop(columns=["quartile1", "quartile3"], errors="ignore").round(4).to_string(index=False))
    print(f"\n{ratios(table).to_string(index=False)}\n\n{path}")
    path.with_suffix(".png").write_bytes(figures.bench(table, badge="make bench, 2 threads").png())
    return 0


if __name__ == "__main__":
    sys.exit(main())
