"""What the interactive pages of the site show: data for their scripts, sprites, and the still pictures in their places.

Data are classic scripts that set one constant each, as a page that is opened from a disk may fetch nothing.
"""

import json
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from scipy import stats
from torch import Tensor

from dpsynth import figures
from dpsynth.figures.style import Picture, called
from dpsynth.methods import METHODS
from dpsynth.params import Params
from dpsynth.pipeline import Run
from dpsynth.privacy import Counts, Gradients
from dpsynth.privacy.mechanisms import Mechanism
from dpsynth.project import PACKAGE
from dpsynth.report import displays, items, pictures, widgets
from dpsynth.stages import selection

COLUMNS = 32  # thumbnails of a row of a sprite
STRIDE = 3  # steps of the sampler from row to row of a still
SHADES = 16  # of grey, which make a sprite small
SCALES = ("laptop", "gpu", "paper")
BUDGETS = (1.0, 10.0)
COMMAND = "make reproduce METHOD=rpgen EPS=10 SEED=0"
MOVES = {"adversarial": "up the gradient of that loss", "gaussian": "in a random direction"}


def write(folder: Path) -> dict[str, str]:
    """Write all data, sprites and stills into `folder`, which is made if need be.

    Trains nothing: what needs a finished run is written if that stands.

    Returns:
        Of each page whose part was left out, why: a sentence that names the command which makes what it lacks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    run = shown_run()
    parts: dict[str, tuple[Callable[[], Any], str]] = {
        "explorer": (lambda: explorer(folder, run), ""),
        "query-noise": (lambda: query_noise(folder, run), _lacks(run, "release", "encoder")),
        "trajectory": (lambda: trajectory(folder, run), _lacks(run, "synthesiser")),
        "gamma": (lambda: gamma(folder), ""),
    }
    missing = {}
    for name, (make, lacks) in parts.items():
        try:
            if not lacks:
                make()
        except ValueError as error:
            lacks = str(error)
        if lacks:
            missing[name] = lacks
    return missing


def shown_run() -> Run:
    """The run that the pages show: RPGen at the laptop's scale."""
    return Run(Params.at("laptop", method="rpgen", epsilon=10.0, seed=0))


def _lacks(run: Run, *kinds: str) -> str:
    if all(run.recipe(kind).path.exists() for kind in kinds):
        return ""
    return f"It shows a run that was not made yet; `{COMMAND}` makes it."


def explorer(folder: Path, run: Run) -> None:
    """The presets, and the still: the costs of the run's plan."""
    _script(folder / "explorer.js", "explorerData", {"presets": list(presets())})
    _still(
        folder / "explorer.png", figures.costs(*widgets.costs(run.plan.mechanisms, run.params.delta), badge=_badge(run))
    )


def presets() -> Iterator[dict[str, Any]]:
    """What the methods of each scale ask, at each budget, as the explorer's fields; equal ones under one name.

    Last what the two papers print, where that is another rate or number of steps. Left out are methods that ask
    something else than at most one histogram before DP-SGD.
    """
    for scale in SCALES:
        for epsilon in BUDGETS:
            named: dict[str, list[str]] = {}
            for method in METHODS:
                p = Params.at(scale, method=method, epsilon=epsilon)
                if (setting := _fields(Run(p).questions, p)) is not None:
                    named.setdefault(json.dumps(setting), []).append(called(method))
            for text, methods in named.items():
                name = f"{scale}, {p.private}, epsilon {epsilon:g}: {', '.join(methods)}"
                yield {"name": name, "setting": json.loads(text)}
    yield from _printed()


def _printed() -> Iterator[dict[str, Any]]:
    """What RPGen and PrivImage print for CIFAR-10; what they do not say, as at scale paper."""
    rows = pd.read_csv(PACKAGE / "settings.csv")
    for method, paper in (("rpgen", "RPGen"), ("privimage_d", "PrivImage")):
        mine = rows[(rows["method"] == method) & (rows["paper"] == paper)]
        printed = mine.drop_duplicates("setting").set_index("setting")["value"]
        for epsilon in BUDGETS:
            p = Params.at("paper", method=method, epsilon=epsilon)
            rate = float(f"{printed['expected records'] / p.constants.n_records:.4g}")
            steps = round(printed["steps"] if "steps" in printed else printed["passes"] / rate)
            setting = _fields(Run(p).questions, p) | {"rate": rate, "steps": steps}
            yield {"name": f"as {paper} prints, {p.private}, epsilon {epsilon:g}", "setting": setting}


def _fields(questions: list[Mechanism], p: Params) -> dict[str, float | None] | None:
    *before, learner = questions
    if not isinstance(learner, Gradients) or len(before) > 1 or not all(isinstance(m, Counts) for m in before):
        return None
    if before and before[0].steps > 1:
        return None
    query = {"queryNoise": float(f"{before[0].noise_multiplier:.5g}"), "votes": before[0].votes} if before else {}
    common = {"epsilon": p.epsilon, "rate": learner.sample_rate, "steps": learner.steps, "delta": p.delta}
    return common | ({"queryNoise": None, "votes": 1} | query)


def query_noise(folder: Path, run: Run) -> None:
    """The histogram of the benchmark without noise, a thumbnail of each public class, and how many picks survive."""
    public, options, curve = run.public, run.options, pictures.recall_curve(run)
    exact = pictures.votes_without_noise(run).histogram
    published = Params.at("paper", method="rpgen")
    n_records = run.params.constants.n_records
    scaled = published.options["query_noise"] * n_records / published.constants.n_records
    data = {
        "histogram": exact.tolist(), "picks": selection.pick(exact, options.kept), "kept": options.kept,
        "labels": run.params.constants.classes, "names": [_name(c) for c in public.classes], "votes": options.votes,
        "columns": COLUMNS, "side": public.images.shape[-1], "delta": run.params.delta, "records": n_records,
        "planned": run.plan.mechanism("semantic_histogram").noise_multiplier, "scaled": round(scaled),
        "published": published.options["query_noise"],
        "curve": {"noise": curve["noise"].tolist(), "recall": curve["recall"].mean(1).tolist()},
    }  # fmt: skip
    _script(folder / "query-noise.js", "queryNoiseData", data)
    first = torch.stack([public.images[(public.labels == c).nonzero()[0, 0]] for c in range(len(public.classes))])
    _sprite(folder / "query-noise-classes.png", first, COLUMNS)
    _still(folder / "query-noise.png", figures.recall_curve(**curve, chosen=data["planned"], badge=_badge(run)))


def _name(symbol: str) -> str:
    """What a character is called, so that a screen reader can say it and no font need have it."""
    return unicodedata.name(symbol, symbol).lower() if len(symbol) == 1 else symbol


def trajectory(folder: Path, run: Run) -> None:
    """What the sampler holds and what the denoiser makes of it, at each step, of one image a label."""
    noisy, clean, levels = widgets.along(run)
    names = run.params.constants.classes
    side = noisy.shape[-1]
    _script(
        folder / "trajectory.js",
        "trajectoryData",
        {"sigma": [float(f"{level:.4g}") for level in levels], "labels": names, "side": side},
    )
    steps = torch.cat([noisy, clean, noisy[-1:]])  # a row: x at each level, D at each level, and what it ends with
    _sprite(folder / "trajectory-steps.png", steps.transpose(0, 1).flatten(0, 1), len(steps))
    some = slice(None, None, STRIDE)
    still = figures.trajectory(noisy[some], clean[some], levels[some], names, badge=_badge(run))
    _still(folder / "trajectory.png", still)


def gamma(folder: Path) -> None:
    """Losses of moved weights, of training with the perturbation and without; and quality over its radius, if run."""
    robust, quality = items.committed("rpgen_robustness"), items.committed("rpgen_fig3_fig4")
    rows = robust.rows.merge(_options(robust, "amp_gamma", "kept"), on="params_digest")
    rows = rows[rows["kept"] == rows["kept"].min()]
    losses = [
        {"model": model, "images": images, "move": move, "radius": radius, **_over(part, "at")}
        for model in ("base", "synthesiser")
        for images in ("public", "private")
        for move in MOVES
        for radius, part in rows[rows["metric"] == f"loss-{model}-{images}-{move}"].groupby("amp_gamma")
    ]
    data = {"losses": losses, "moves": MOVES, "seeds": int(rows["seed"].nunique()), "quality": []}
    if len(quality.rows):
        swept = quality.rows.merge(_options(quality, "amp_gamma"), on="params_digest")
        swept = swept[(swept["method"] == "rpgen") & swept["metric"].isin(["CA-CNN", "FD-convnet"])]
        data["quality"] = [{"metric": name, **_over(part, "amp_gamma")} for name, part in swept.groupby("metric")]
    _script(folder / "gamma.js", "gammaData", data)
    _still(folder / "gamma.png", items.draw(robust)["adversarial"])


def _options(item: items.Item, *names: str) -> pd.DataFrame:
    points = [{"params_digest": p.digest} | {name: p.options[name] for name in names} for p in item.experiment.points()]
    return pd.DataFrame(points)


def _over(rows: pd.DataFrame, axis: str) -> dict[str, list[float]]:
    """The mean over seeds at each place of an axis, with its 95 percent interval by Student's t."""
    groups = [(float(at), group["value"].to_numpy(float)) for at, group in rows.groupby(axis)]
    means = [float(values.mean()) for _, values in groups]
    halves = [
        float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
        if len(values) > 1
        else 0.0
        for _, values in groups
    ]
    ends = {"low": [m - h for m, h in zip(means, halves, strict=True)]}
    ends["high"] = [m + h for m, h in zip(means, halves, strict=True)]
    return {"at": [at for at, _ in groups], "mean": means, **ends}


def _badge(run: Run) -> str:
    return displays.badge(run.params)


def _script(path: Path, name: str, data: dict[str, Any]) -> None:
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    path.write_text(f'"use strict";\nconst {name} = {text};\n', encoding="utf-8")


def _sprite(path: Path, images: Tensor, columns: int) -> None:
    """Images (N, 1, H, W) uint8 in rows of `columns`, as one grey picture."""
    n, _, tall, wide = images.shape
    rows = -(-n // columns)
    filled = torch.zeros(rows * columns, tall, wide, dtype=torch.uint8)
    filled[:n] = images[:, 0]
    table = filled.view(rows, columns, tall, wide).transpose(1, 2).reshape(rows * tall, columns * wide)
    levels = np.round(table.numpy() / 255 * (SHADES - 1)).astype(np.uint8)
    picture = Image.fromarray(levels, mode="P")
    picture.putpalette([round(shade * 255 / (SHADES - 1)) for shade in range(SHADES) for _ in "rgb"])
    picture.save(path, optimize=True, bits=4)


def _still(path: Path, figure: Picture) -> None:
    path.write_bytes(figure.png())
