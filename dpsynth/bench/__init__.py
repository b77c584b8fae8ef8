"""What a DP-SGD step costs beside an ordinary one, and beside Opacus's: one process, interleaved repeats, medians.

`python -m dpsynth.bench [--quick]` writes build/bench.csv and build/bench.png, and prints ratios beside their goals.
Memory is the largest of a process of the step's own, less what that held before its first step.
"""

import itertools
import json
import subprocess
import sys
import time

import pandas as pd
import torch

from dpsynth import memory as resident
from dpsynth.bench.steps import F32, FULL, LAPTOP, THREADS, Bench, Setting


def measure(setting: Setting, repeats: int) -> list[dict]:
    """Rows of the table: seconds of each step, interleaved, after a warm-up if repeated; what cannot run says why."""
    torch.set_num_threads(THREADS)
    bench, running, rows = Bench(setting), {}, []
    for name, make in bench.steps().items():
        try:
            running[name] = make()
            if repeats > 1:
                running[name]()
        except (RuntimeError, NotImplementedError, AttributeError, IndexError, ImportError) as error:
            if not name.startswith(("opacus", "library")):
                raise
            running.pop(name, None)
            rows.append({**setting._asdict(), "step": name, "note": f"{type(error).__name__}: {error}".split("\n")[0]})
    seconds = {name: [] for name in running}
    for _ in range(repeats):
        for name, step in running.items():
            start = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - start)
    for name, values in seconds.items():
        model = bench.library() if name.startswith("library") else bench.network(F32)
        size = {"weights": sum(p.numel() for p in model.parameters()), "multiply_adds": bench.multiply_adds(model)}
        quartiles = pd.Series(values).quantile([0.25, 0.5, 0.75])
        speed = dict(zip(("quartile1", "seconds", "quartile3"), quartiles, strict=True))
        rows.append({**setting._asdict(), "step": name, **size, **speed, "peak_MiB": memory(setting, name)})
    return rows


def memory(setting: Setting, name: str) -> float:
    """Largest resident memory, MiB, of a process that takes such steps, less what it has before the first.

    NaN if the process failed, which is said.
    """
    command = [sys.executable, "-m", "dpsynth.bench", "--memory", name, "--setting", json.dumps(setting)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace")
    if done.returncode:
        print(f"memory of {name}: {done.stderr.strip().rpartition(chr(10))[2] or 'the process was killed'}", flush=True)
        return float("nan")
    return float(done.stdout.split()[-1])


def held_by(setting: Setting, name: str) -> float:
    """MiB that these steps add to what this process held; `memory` runs it in a process of its own."""
    torch.set_num_threads(THREADS)
    step, before = Bench(setting).steps()[name](), resident.peak_mib()
    step()
    if setting.batch <= FULL.batch:
        step()
    return round(resident.peak_mib() - before, 1)


def ratios(table: pd.DataFrame) -> pd.DataFrame:
    """The goals, and what was measured: speed against the quicker ordinary step and Opacus's quicker precision."""

    def seconds(setting: Setting, *names: str) -> float:
        return _at(table, setting, *names)["seconds"].min()

    def rate(*names: str) -> float:
        """Multiply-adds a second of the quickest."""
        at = _at(table, FULL, *names)
        return (at["multiply_adds"] / at["seconds"]).max()

    def peak(setting: Setting, name: str) -> float:
        at = _at(table, setting, name)
        return at["peak_MiB"].iloc[0] if len(at) else float("nan")

    rows = []
    for precision, (views, goal) in itertools.product(("float32", "bfloat16"), ((1, 0.85), (4, 0.95))):
        setting, ordinary = FULL._replace(views=views), f"ordinary {precision}"
        speed = seconds(setting, ordinary, f"{ordinary}, side by side") / seconds(setting, f"ours {precision}")
        rows.append((f"speed of ours over ordinary's, {precision}, K = {views}", speed, goal))
    hooks = seconds(FULL, "opacus hooks float32", "opacus hooks bfloat16")
    speed = hooks / seconds(FULL, "ours bfloat16")
    rows.append(("speed of ours, bfloat16, over Opacus hooks' in its better precision", speed, 2.6))
    ours = rate("ordinary bfloat16", "ordinary bfloat16, side by side")
    library = ours / rate("library bfloat16", "library bfloat16, side by side")
    rows.append(("multiply-adds a second of our ordinary step over a library U-Net's, bfloat16", library, 2.0))
    like = peak(FULL, "ours bfloat16") / peak(FULL, "ordinary bfloat16, side by side")
    rows.append(("peak memory of ours over ordinary's, bfloat16 (at most)", like, 1.5))
    flat = peak(Setting(batch=16_384), "ours bfloat16") / peak(Setting(batch=256), "ours bfloat16")
    rows.append(("peak memory at batch 16,384 over 256 (at most)", flat, 1.05))
    return pd.DataFrame(rows, columns=["ratio", "measured", "goal"]).round(2)


def laptop(table: pd.DataFrame) -> str:
    """What is to be known of the denoiser of `make reproduce`, in a sentence."""
    at = _at(table, LAPTOP)
    if not len(at):
        return "The denoiser of `make reproduce`: not measured."
    speed, first = LAPTOP.batch * LAPTOP.views / at.set_index("step")["seconds"], at.iloc[0]
    ordinary, ours = speed[speed.index.str.startswith("ordinary")].max(), speed["ours bfloat16"]
    return (
        f"The denoiser of `make reproduce` has {first['weights']:,.0f} weights and takes "
        f"{first['multiply_adds'] / 1e6:.1f} million multiply-adds for a {LAPTOP.size}x{LAPTOP.size} image. It trains "
        f"on {ordinary:,.0f} noised images a second in an ordinary step, on {ours:,.0f} with DP-SGD (bfloat16, "
        f"K = {LAPTOP.views}: each image counts that often)."
    )


def _at(table: pd.DataFrame, setting: Setting, *names: str) -> pd.DataFrame:
    """Rows of a setting, of the steps named, or of all."""
    rows = table[(table[list(Setting._fields)] == list(setting)).all(axis=1)]
    return rows[rows["step"].isin(names)] if names else rows
