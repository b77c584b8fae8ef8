"""Take over what was measured, from build/ into results/ and docs/items: whatever is there."""

import json
from pathlib import Path

from dpsynth import experiments, figures, project, scales
from dpsynth.pipeline import Run
from dpsynth.report import displays, itempages, items, pictures, results

# Figures that docs/results.md shows of each.
FIGURED = {"rpgen_table1_digits": ("CA-CNN", "moment-gap"), "ablations": ("learning-percent",)}
RECORDED = ("ablations", "choosing")  # of these the rows that are there, of the table of `make reproduce` only all
MEASURED = ("bench", "bench-gpu", "samplers")  # by targets of make of these names
SCALE = "laptop"  # of `make reproduce`


def record() -> None:
    """Copy results, what was measured, and pictures from build/.

    The table of `make reproduce` only if that ran whole and from scratch; of all other parameter files, with their
    figures, the rows that are there.

    Raises:
        FileNotFoundError: nothing was reproduced yet; nothing was copied.
    """
    build = project.root() / "build"
    frame = results.read_results(SCALE)
    names = {*RECORDED, *(["table"] if (build / SCALE / "measured.json").exists() else [])}
    for name, rows in frame.groupby("experiment"):
        if name in names:
            rows.to_csv(results.COMMITTED / f"{name}.csv", index=False)
        if name in FIGURED:
            results.draw(rows, results.COMMITTED, FIGURED[name])
    for scale in scales.names():
        if (build / scale / "results.csv").exists():
            _items(build / scale, scale)
    for name in MEASURED:
        if (file := build / f"{name}.csv").exists():
            (results.COMMITTED / file.name).write_bytes(file.read_bytes())
    _times(build)


def _items(folder: Path, scale: str) -> None:
    """Results and pictures of the papers' tables and figures; another scale than the file's own is in the name."""
    own = {experiments.name_of(path): experiments.load(path).scale for path in items.files()}
    for name, rows in results.read_results(scale).groupby("experiment"):
        if name not in own:
            continue
        if rows["dataset"].str.startswith("folder:").any():
            raise ValueError(f"{name} was run on a set of your own, whose path would be told: results/ has benchmarks")
        called = name if own[name] == scale else f"{name}_{scale}"
        rows.to_csv(results.COMMITTED / f"{called}.csv", index=False)
        if (answers := folder / f"{name}-{results.ANSWERS}").exists():
            (results.COMMITTED / f"{called}-{results.ANSWERS}").write_bytes(answers.read_bytes())
        for picture in ("embedding", "samples", "selected"):
            if (file := folder / f"{name}-{picture}.png").exists():
                (itempages.FOLDER / f"{called}-{picture}.png").write_bytes(file.read_bytes())


def _times(build: Path) -> None:
    """What `make reproduce` and `make test` took, and the headline picture."""
    times, tests = build / SCALE / "measured.json", build / "test.json"
    if not times.exists():
        return
    measured = json.loads(times.read_text(encoding="utf-8"))
    measured |= json.loads(tests.read_text(encoding="utf-8")) if tests.exists() else {}
    (results.COMMITTED / "measured.json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    run = Run(experiments.load("table").points()[0])
    badge, headings = displays.badge(run.params), pictures.headings(run.params)
    hero = figures.hero(pictures.strip(run), badge=badge, classes=headings)
    (results.COMMITTED / "hero.png").write_bytes(hero.png())
