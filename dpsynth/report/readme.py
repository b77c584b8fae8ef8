"""The README's measured numbers and picture: none of them is typed by hand, and a test holds it.

`make record` copies what the last `make reproduce`, `make test`, `make bench` and `make samplers` measured from build/
to results/; `make readme` fills the README from results/.
"""

import json
import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from dpsynth import bench, figures, store
from dpsynth.bench import samplers
from dpsynth.methods import METHODS
from dpsynth.report import comparison, displays, results
from dpsynth.report.timings import breakdown
from dpsynth.runner import experiments, terminal
from dpsynth.stages import evaluate

PROJECT = Path(__file__).parents[2]
README = PROJECT / "README.md"
FIGURED = {"table1": ("CA-CNN", "moment-gap"), "ablations": ("learning-percent",)}  # what the README shows of each
SHOWN = ["epsilon", "seeds", "images", "CA-LR", "CA-MLP", "CA-CNN", "FD-convnet", "precision", "recall"]


def filled(text: str, blocks: dict[str, str]) -> str:
    """`text` with each block between `<!-- begin: name -->` and `<!-- end: name -->` replaced.

    Raises:
        ValueError: a block without markers, or markers without a block.
    """
    found = set(re.findall(r"<!-- begin: (\w+) -->", text))
    if found != set(blocks):
        raise ValueError(f"the README has markers for {sorted(found)}, there are blocks for {sorted(blocks)}")
    for name, block in blocks.items():
        pattern = rf"(<!-- begin: {name} -->\n).*?(<!-- end: {name} -->)"
        text = re.sub(pattern, lambda m, block=block: m[1] + block + "\n" + m[2], text, flags=re.DOTALL)
    return text


def blocks() -> dict[str, str]:
    """What results/ says: {name of the block: markdown}."""
    frame = results.read_committed("table")
    path = results.COMMITTED / "measured.json"
    measured = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {
        "table": _table(frame), "claim": _claim(frame), "time": _time(measured), "hero": _hero(frame),
        "table1": _budgets(results.COMMITTED / "table1.csv"),
        "ablations": _ablations(results.COMMITTED / "ablations.csv"),
        "overnight": _overnight(results.COMMITTED / "overnight.csv"),
        "bench": _bench(results.COMMITTED / "bench.csv"),
        "samplers": _from(results.COMMITTED / "samplers.csv", samplers.table, "`make samplers`: not run."),
        "breakdown": markdown(breakdown(measured)) if "artifacts" in measured else "Not run.",
    }  # fmt: skip


def _bench(path: Path) -> str:
    said = _from(path, bench.ratios, "`make bench`: not run.")
    return f"{said}\n\n{bench.laptop(pd.read_csv(path))}" if path.exists() else said


def _from(path: Path, table: Callable[[pd.DataFrame], pd.DataFrame], absent: str) -> str:
    if not path.exists():
        return absent
    return markdown(table(pd.read_csv(path)).map(lambda value: "not run" if pd.isna(value) else str(value)))


def markdown(table: pd.DataFrame) -> str:
    """A frame of strings as a table, without its index."""
    rows = [table.columns.tolist(), ["---"] * len(table.columns), *table.values.tolist()]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _table(frame: pd.DataFrame) -> str:
    table = comparison.table(frame)[SHOWN].reset_index()
    first = frame.iloc[0]
    caption = (
        f"`{first['dataset']}` with public `{first['public']}`, scale `{first['scale']}`, delta "
        f"{frame['delta'].dropna().iloc[0]:g}, add-or-remove neighbours; mean ± standard deviation over seeds. "
        f"{_provenance(frame)}"
    )
    return f"{markdown(table.astype(str))}\n\n{caption}"


def _budgets(path: Path) -> str:
    """All methods, a column a budget; then which of them the public images alone are as good as."""
    if not path.exists():
        return "`make table1`: not run."
    frame = results.read_committed(path.stem)
    table = comparison.table(frame).reset_index()
    cells = {metric: table.pivot(index="row", columns="epsilon", values=metric) for metric in ("CA-CNN", "FD-convnet")}
    order = sorted(table["epsilon"].unique(), key=lambda e: float("inf") if e == "none" else float(e))
    titled = [part[order].add_prefix(f"{metric}, ε ") for metric, part in cells.items()]
    wide = pd.concat(titled, axis=1).loc[table["row"].unique()].fillna("").reset_index()
    caption, pictures = f"{_run_of(frame)} {_provenance(frame)}", _pictures(path)
    return "\n".join([markdown(wide), "", caption, "", *(f"- {said}" for said in _below(frame)), *pictures])


def _ablations(path: Path) -> str:
    """A row a variant, at the one budget."""
    if not path.exists():
        return "`make reproduce EXPERIMENT=ablations`: not run."
    frame = results.read_committed(path.stem)
    table = comparison.table(frame).reset_index()[["row", "CA-LR", "CA-MLP", "CA-CNN", "FD-convnet", "recall"]]
    return "\n".join([markdown(table), "", f"{_run_of(frame)} {_provenance(frame)}", *_pictures(path)])


def _overnight(path: Path) -> str:
    """A table for each data set, of the runs that were made; then how many were not."""
    if not path.exists():
        return "`make table1 PROFILE=overnight`: not run."
    frame, file = results.read_committed(path.stem), Path("params", "overnight", "table1.yaml")
    points, made = experiments.load(PROJECT / file).points(), set(frame["params_digest"])
    lacking = Counter(p.private for p in points if p.digest not in made)
    said = []
    for dataset, part in frame.groupby("dataset", sort=False):
        said += [f"`{dataset}`:", "", markdown(comparison.table(part)[SHOWN].reset_index().astype(str)), ""]
    absent = ", ".join(f"{n} of `{dataset}`" for dataset, n in lacking.items()) or "none"
    run = f"{len(points) - lacking.total()} of {len(points)} runs of `{file}`; not run: {absent}."
    return "\n".join([*said, f"{run} {_provenance(frame)}"])


def _run_of(frame: pd.DataFrame) -> str:
    images = frame.loc[frame["method"].isin(METHODS), "n_synthetic"].max()
    return f"`{frame.iloc[0]['dataset']}`, {images} images a run."


def _pictures(path: Path) -> list[str]:
    """The figures that `record` wrote beside the results in `path`, as markdown."""
    found = [f for what in FIGURED[path.stem] for f in sorted(path.parent.glob(f"{path.stem}-*-{what}.png"))]
    return [line for f in found for line in ("", f"![{f.stem.replace('-', ' ')}]({f.parent.name}/{f.name})")]


def _below(frame: pd.DataFrame) -> list[str]:
    """For each budget, the methods whose CNN accuracy is not above that of RPGen's public floor."""
    cnn = frame[frame["metric"] == "CA-CNN"]
    floor_rows = cnn[(cnn["method"] == "floor_public") & (cnn["variant"] == "rpgen")]
    floors = floor_rows.groupby("epsilon_target")["value"].mean()
    own = cnn[cnn["method"].isin(METHODS)].groupby(["epsilon_target", "method"], sort=False)["value"].mean()
    said = []
    for epsilon, floor in floors.items():
        lower = [f"{name} ({value - floor:.1f})" for name, value in own[epsilon].items() if value <= floor]
        names = ", ".join(lower) or "none"
        said.append(f"Not above RPGen's `floor_public` ({floor:.1f}) at epsilon {epsilon:g}: {names}.")
    return said


def _provenance(frame: pd.DataFrame) -> str:
    """The commits of the rows, and whether the parameter file still says what they were made with."""
    first = frame.iloc[0]
    file = experiments.find(first["experiment"])
    seeds = frame["seed"].dropna().astype(int).unique().tolist()
    today = {p.replace(seed=seed).digest for p in experiments.load(file, first["scale"]).points() for seed in seeds}
    commits = " and ".join(f"`{commit}`" for commit in sorted(frame["commit"].unique()))
    stale = "" if set(frame["params_digest"]) <= today else f", with other settings than `{file}` has today"
    return f"Made at commit {commits}{stale}."


def _claim(frame: pd.DataFrame) -> str:
    cnn = frame[frame["metric"] == "CA-CNN"]
    ours, floor = (cnn[(cnn["method"] == m) & cnn["variant"].isin(["", "rpgen"])] for m in ("rpgen", "floor_public"))
    finite = ours[ours["epsilon_target"] == 10.0]
    gain = finite.set_index("seed")["value"] - floor[floor["epsilon_target"] == 10.0].set_index("seed")["value"]
    spread = f" ± {gain.std():.1f}" if len(gain) > 1 else ""
    direction = "above" if gain.mean() >= 0 else "below"
    said = (
        f"At epsilon 10, RPGen's CNN accuracy is {finite['value'].mean():.1f}, "
        f"{abs(gain.mean()):.1f}{spread} points {direction} its `floor_public` "
        f"(over {len(gain)} seed{'s' if len(gain) != 1 else ''})."
    )
    without = frame[(frame["method"] == "privimage_d") & (frame["epsilon_target"] == 10.0)]
    means = {metric: without.loc[without["metric"] == metric, "value"].mean() for metric in ("CA-CNN", "FD-convnet")}
    distance = frame[(frame["method"] == "rpgen") & (frame["metric"] == "FD-convnet")]
    return said + (
        f" PrivImage+D, which is RPGen without the perturbation, reaches {means['CA-CNN']:.1f}, with FD-convnet "
        f"{means['FD-convnet']:.2f} against {distance.loc[distance['epsilon_target'] == 10.0, 'value'].mean():.2f}."
    )


def _time(measured: dict) -> str:
    if not measured:
        return "Their times on an otherwise idle machine: not run."
    reproduce = measured["reproduce_minutes"]
    tests = f"; `make test` took {measured['test_minutes']:.0f} minutes" if "test_minutes" in measured else ""
    return (
        f"Measured on {measured['machine']}, after installation: `make reproduce` took {reproduce:.0f} minutes and at "
        f"most {measured['peak_MiB'] / 1024:.1f} GiB of memory{tests}."
    )


def _hero(frame: pd.DataFrame) -> str:
    spent = frame.loc[frame["method"] == "rpgen", "epsilon_spent"].max()
    return f"*Drawn as in notebook 05: RPGen on the private digits, epsilon {spent:.2f} spent.*"


def record() -> None:
    """Copy results, what was measured, and the headline picture from build/ to results/: whatever is there.

    The table of `make reproduce` only if that ran whole and from scratch; of the other experiments, with their figures,
    the rows that are there.

    Raises:
        FileNotFoundError: nothing was reproduced yet; nothing was copied.
    """
    scale, build = "laptop", store.root() / "build"
    took, tests = build / scale / "measured.json", build / "test.json"
    frame = results.read_results(scale)
    for name, own in frame.groupby("experiment"):
        if name in FIGURED or (name == "table" and took.exists()):
            own.to_csv(results.COMMITTED / f"{name}.csv", index=False)
        if name in FIGURED:
            results.draw(own, results.COMMITTED, FIGURED[name])
    if (build / "overnight" / "results.csv").exists():
        overnight = results.read_results("overnight")
        overnight[overnight["experiment"] == "table1"].to_csv(results.COMMITTED / "overnight.csv", index=False)
    for name in ("bench.csv", "samplers.csv"):
        if (build / name).exists():
            (results.COMMITTED / name).write_bytes((build / name).read_bytes())
    if took.exists():
        said = json.loads(took.read_text(encoding="utf-8"))
        said |= json.loads(tests.read_text(encoding="utf-8")) if tests.exists() else {}
        (results.COMMITTED / "measured.json").write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
        p = experiments.load("table", scale).points()[0]
        hero = figures.hero(evaluate.strip(p), badge=displays.badge(p), classes=p.constants.classes[:10])
        (results.COMMITTED / "hero.png").write_bytes(hero.png())


def main() -> int:
    """Fill README.md; first take over what was measured, with --record."""
    parser = terminal.parser("python -m dpsynth.report.readme", main.__doc__)
    parser.add_argument("--record", action="store_true", help="take over the measurements in build/ first")
    if parser.parse_args().record:
        record()
    README.write_text(filled(README.read_text(encoding="utf-8"), blocks()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
