"""Quality and speed of the samplers, on RPGen's synthesiser of the choosing split.

`python -m dpsynth.bench.samplers` trains it first if need be, and writes build/samplers.csv.
"""

import sys
import time

import pandas as pd
import torch

from dpsynth import device, privacy, project
from dpsynth.bench.steps import THREADS
from dpsynth.metrics import classifiers, distances, extractors
from dpsynth.mistakes import ended, mistakes
from dpsynth.models import networks
from dpsynth.models.samplers import ddim, denoised, dpm_solver, heun
from dpsynth.params import Params
from dpsynth.pipeline import Run
from dpsynth.seeds import seed_of

TRIALS = [
    (ddim, 250), (ddim, 20), (heun, 18), (heun, 10), (heun, 6),
    (dpm_solver, 20), (dpm_solver, 14), (dpm_solver, 10), (dpm_solver, 7),
]  # fmt: skip
IMAGES, SEEDS = 2000, 3


def chosen() -> Params:
    """RPGen as in `make reproduce`, on the choosing split."""
    return Params.at("laptop", method="rpgen", private="mnist5k_choosing")


def measure(p: Params) -> pd.DataFrame:
    """A row a sampler: evaluations of the denoiser an image, images a second, and metrics over seeds."""
    images, labels = privacy.evaluation(Run(p).held_out, "comparison of samplers")
    run = Run(p)
    extractor = extractors.convnet(run.artifact("extractor").weights)
    model = networks.rebuild(run.synthesiser.architecture, run.synthesiser.weights)
    prior, rows = torch.arange(IMAGES) % p.n_classes, []
    for solver, n_steps in TRIALS:
        for seed in range(SEEDS):
            start = time.perf_counter()
            samples = denoised(model, prior, seed_of(seed, "sample"), solver, n_steps)
            seconds = time.perf_counter() - start
            evaluations = 2 * n_steps - 1 if solver is heun else n_steps
            rows.append({"sampler": solver.__name__, "steps": n_steps, "evaluations": evaluations, "seed": seed,
                         "images a second": IMAGES / seconds, **distances.between(samples, images, extractor),
                         **classifiers.accuracies(samples, prior, images, labels, p.n_classes, seed)})  # fmt: skip
        print(pd.DataFrame(rows[-SEEDS:]).round(3).to_string(index=False), flush=True)
    return pd.DataFrame(rows)


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """Means and deviations over the seeds, as text."""
    by = rows.groupby(["sampler", "steps", "evaluations"], sort=False)
    columns = {}
    for name, digits in (("images a second", 0), ("CA-CNN", 1), ("FD-convnet", 2), ("recall", 3)):
        columns[name] = [
            f"{m:.{digits}f} ± {s:.{digits}f}" for m, s in zip(by[name].mean(), by[name].std(), strict=True)
        ]
    return by.size().index.to_frame(index=False).astype(str).assign(**columns)


def main() -> int:
    if refused := ended(mistakes()(device.kind)):
        return refused
    torch.set_num_threads(THREADS)
    rows = measure(chosen())
    rows.to_csv(project.root() / "build" / "samplers.csv", index=False)
    print(table(rows).to_string(index=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
