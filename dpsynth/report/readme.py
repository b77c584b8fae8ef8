"""The measured numbers and the picture in README.md and docs/: none of them is typed by hand, and a test holds it.

`make record` copies what the last `make reproduce`, `make test`, `make bench`, `make bench-gpu` and `make samplers`
measured from build/ to results/; `make readme` fills the pages from results/.
"""

import json
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pandas as pd

from dpsynth import bench, experiments, terminal
from dpsynth.bench import gpu, samplers
from dpsynth.budget import risk
from dpsynth.methods import METHODS
from dpsynth.metrics.names import ACCURACIES, FRECHET, frechet
from dpsynth.project import PACKAGE
from dpsynth.report import (
    arithmetic,
    artifact,
    check,
    comparison,
    items,
    networks,
    paired,
    record,
    results,
    settings,
)  # fmt: skip
from dpsynth.report.markdown import markdown
from dpsynth.report.timings import breakdown

PROJECT = PACKAGE.parent
SHOWN = ["row", "epsilon", "seeds", "images", *ACCURACIES, *FRECHET, "precision", "recall"]  # what of it there is
SUMMARY = ["epsilon", "seeds", "images", "CA-LR", "CA-MLP", "CA-CNN", "recall"]
MARKER = re.compile(r"<!-- begin: ([\w-]+) -->")
BLOCK = re.compile(r"(<!-- begin: ([\w-]+) -->\n).*?(<!-- end: \2 -->)", re.DOTALL)


def pages() -> dict[Path, str]:
    """The text of each page that may hold a block: README.md, ARTIFACT.md, docs/*.md; by path in the project."""
    paths = [PROJECT / "README.md", PROJECT / "ARTIFACT.md", *sorted((PROJECT / "docs").glob("*.md"))]
    return {path.relative_to(PROJECT): path.read_text(encoding="utf-8") for path in paths}


def filled(pages: dict[Path, str], blocks: dict[str, str]) -> dict[Path, str]:
    """`pages` with each block between `<!-- begin: name -->` and `<!-- end: name -->` replaced, where these stand.

    A block's links start in the project's folder, and are made relative to the page.

    Raises:
        ValueError: a block without markers, markers without a block, or markers of one name in two places.
    """
    places = sorted(name for text in pages.values() for name in MARKER.findall(text))
    if places != sorted(blocks):
        raise ValueError(f"the pages have markers for {places}, there are blocks for {sorted(blocks)}")
    return {path: _filled(text, blocks, "../" * (len(path.parts) - 1)) for path, text in pages.items()}


def _filled(text: str, blocks: dict[str, str], up: str) -> str:
    relative = {name: re.sub(r"\]\((?!\w+:)", f"]({up}", block) for name, block in blocks.items()}
    if open_ended := {*MARKER.findall(text)} - {name for _, name, _ in BLOCK.findall(text)}:
        raise ValueError(f"the marker `begin: {open_ended.pop()}` has no end")
    return BLOCK.sub(lambda block: f"{block[1]}{relative[block[2]]}\n{block[3]}", text)


def blocks() -> dict[str, str]:
    """What results/ says: {name of the block: markdown}."""
    of_table = {"summary": _summary, "claim": _claim, "hero": _hero, "table": _table}
    of_file = {
        "rpgen_table1_digits": _budgets, "ablations": _variants, "choosing": _variants, "bench": _bench,
        "bench-gpu": _bench_gpu, "samplers": _samplers,
    }  # fmt: skip
    path = results.COMMITTED / "measured.json"
    measured = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {
        **{name: block(results.read_committed("table")) for name, block in of_table.items()},
        **{name: _recorded(name, block) for name, block in of_file.items()},
        "settings": f"{markdown(settings.table('laptop'))}\n\n{settings.NOTE}",
        "items": markdown(items.table(every := items.every())),
        "rules": markdown(artifact.rules(every)),
        "arithmetic": markdown(arithmetic.checks()),
        "artifact": markdown(artifact.reviewed(every)),
        "tolerance": f"`make check` lets cells be off by this much: {check.TOLERANCE}.",
        "networks": markdown(networks.table()),
        "risk": markdown(risk.table()),
        "time": _time(measured),
        "breakdown": markdown(breakdown(measured)) if "artifacts" in measured else "Not run.",
    }


def _recorded(name: str, block: Callable[[pd.DataFrame], str]) -> str:
    if (results.COMMITTED / f"{name}.csv").exists():
        return block((pd.read_csv if name in record.MEASURED else results.read)(results.COMMITTED / f"{name}.csv"))
    target = name if name in record.MEASURED else f"reproduce EXPERIMENT={name}"
    return f"`make {target}`: not run, or not recorded."


def _bench(frame: pd.DataFrame) -> str:
    return f"{markdown(bench.ratios(frame))}\n\n{bench.laptop(frame)}"


def _bench_gpu(frame: pd.DataFrame) -> str:
    """Goals and what was measured, of the first setting; and which card."""
    first = frame.iloc[0]
    setting = f"{first['channels']}x{first['size']}x{first['size']} pixels, width {first['width']}"
    return f"{markdown(gpu.ratios(frame))}\n\nOn {' and '.join(frame['card'].unique())}; {setting}."


def _samplers(frame: pd.DataFrame) -> str:
    return markdown(samplers.table(frame))


def _summary(frame: pd.DataFrame) -> str:
    """RPGen, PrivImage+D, the floor and real images, in the metrics that tell them apart."""
    ours = [paired.rows(frame, "privimage_d"), paired.rows(frame, "rpgen"), paired.rows(frame, "floor_public", "rpgen")]
    table = comparison.table(pd.concat([frame[frame["method"] == "real"], *ours]))
    table = table.loc[["real", "floor_public", "privimage_d", "rpgen"], SUMMARY].reset_index()
    return f"{markdown(table)}\n\n{_setting(frame)}"


def _table(frame: pd.DataFrame) -> str:
    """The table of `make reproduce` and its differences."""
    table = markdown(_shown(comparison.table(frame)))
    pairs = [*paired.against(frame), paired.perturbation(frame)]
    return "\n".join([table, "", _setting(frame), "", *_differences(pairs)])


def _setting(frame: pd.DataFrame) -> str:
    first, n = frame.iloc[0], frame["n_reference"].max()
    error = paired.accuracy_error(paired.rows(frame, "rpgen").query("metric == 'CA-CNN'")["value"].mean(), n)
    return (
        f"`{first['dataset']}` with public `{first['public']}`, scale `{first['scale']}`, delta "
        f"{frame['delta'].dropna().iloc[0]:g}, add-or-remove neighbours. ± is the standard deviation over seeds; the "
        f"{n} images that judge leave RPGen's CNN accuracy a standard error of {error:.1f} beside. {_provenance(frame)}"
    )


def _budgets(frame: pd.DataFrame) -> str:
    """All methods, a column a budget; then how far each is from what it started with."""
    table = comparison.table(frame).reset_index()
    table = table[table["epsilon"] != ""]  # a reference row that this file does not ask for
    order = sorted(table["epsilon"].unique(), key=lambda e: float("inf") if e == "none" else float(e))
    wide = []
    for metrics in (("CA-LR", "CA-CNN"), (frechet(table.columns), "recall")):
        cells = {metric: table.pivot(index="row", columns="epsilon", values=metric)[order] for metric in metrics}
        titled = [part.add_prefix(f"{metric}, ε ") for metric, part in cells.items()]
        wide += [markdown(pd.concat(titled, axis=1).loc[table["row"].unique()].fillna("").reset_index()), ""]
    return "\n".join([*wide, *_below(frame, paired.against(frame))])


def _variants(frame: pd.DataFrame) -> str:
    """A row a variant, at the one budget; and each variant beside its method as it usually runs."""
    table = _shown(comparison.table(frame)).drop(columns=["epsilon", "seeds", "images", "precision"])
    return "\n".join([markdown(table), "", *_below(frame, paired.beside_usual(frame))])


def _shown(table: pd.DataFrame) -> pd.DataFrame:
    table = table.reset_index()
    return table[[column for column in SHOWN if column in table]]


def _differences(pairs: Iterable[paired.Pair]) -> list[str]:
    table = paired.table(pairs)
    return [markdown(table), "", f"Differences at equal seeds. {paired.OVER}"] if len(table) else []


def _below(frame: pd.DataFrame, pairs: Iterable[paired.Pair]) -> list[str]:
    """What stands below an experiment's table: how it was made, differences, and the figures that `record` wrote."""
    name = frame.iloc[0]["experiment"]
    images = frame.loc[frame["method"].isin(METHODS), "n_synthetic"].max()
    lines = [f"`{frame.iloc[0]['dataset']}`, {images} images a run. {_provenance(frame)}", "", *_differences(pairs)]
    for what in record.FIGURED.get(name, ()):
        for figure in sorted(results.COMMITTED.glob(f"{name}-*-{what}.png")):
            lines += ["", f"![{figure.stem.replace('-', ' ')}]({figure.parent.name}/{figure.name})"]
    return lines


def _provenance(frame: pd.DataFrame) -> str:
    """The commits and seeds of the rows, and whether the parameter file still says what they were made with."""
    name, seeds = frame.iloc[0]["experiment"], sorted(map(int, frame["seed"].dropna().unique()))
    points = experiments.load(experiments.find(name)).points()
    known = set(frame["params_digest"]) <= {p.replace(seed=seed).digest for p in points for seed in seeds}
    listed = ",".join(map(str, seeds))
    again = f"make reproduce EXPERIMENT={name}" + f" SEED={listed}" * (not {p.seed for p in points} >= {*seeds})
    commits = " and ".join(f"`{commit}`" for commit in sorted(frame["commit"].unique()))
    return f"Made at commit {commits}{'' if known else ', with other settings than today'}; seed {listed} (`{again}`)."


def _claim(frame: pd.DataFrame) -> str:
    """RPGen beside its floor and beside PrivImage+D: what the intervals say, metric by metric; and what RPGen says."""
    ours, papers = paired.rows(frame, "rpgen"), results.published().query("table == 'Table 1' and epsilon == 10")
    n = ours["seed"].nunique()
    papers = papers[papers["source"].str.startswith("RPGen") & (papers["dataset"] == "CIFAR-10")]
    table1 = papers.pivot_table("value", "metric", "method")
    published = table1["rpgen"] - table1["privimage_d"]
    lines = [
        f"- RPGen less its `floor_public`: {paired.stated(ours, paired.rows(frame, 'floor_public', 'rpgen'))}",
        "- RPGen less PrivImage+D, which is RPGen without the perturbation: "
        f"{paired.stated(*paired.perturbation(frame)[1:])} RPGen's Table 1 has, on CIFAR-10, "
        + ", ".join(f"{metric} {value:+.1f}" for metric, value in published.items()) + ".",
    ]  # fmt: skip
    return "\n".join([f"At epsilon 10, over {n} seed{'s' * (n > 1)}:", "", *lines, "", paired.OVER])


def _time(measured: dict) -> str:
    if not measured:
        return "Their times on an otherwise idle machine: not run."
    reproduce = measured["reproduce_minutes"]
    tests = f"; `make test` took {measured['test_minutes']:.0f} minutes" if "test_minutes" in measured else ""
    commit = f" (commit `{measured['commit']}`)" if "commit" in measured else ""
    return (
        f"Measured on {measured['machine']}{commit}, after installation: `make reproduce` took {reproduce:.0f} minutes "
        f"and at most {measured['peak_MiB'] / 1024:.1f} GiB of memory{tests}."
    )


def _hero(frame: pd.DataFrame) -> str:
    """What the rows of the picture cost, and how near they are."""
    base, ours = paired.rows(frame, "pretrained", "rpgen"), paired.rows(frame, "rpgen")
    spent = [rows["epsilon_spent"].max() for rows in (base, ours)]
    linear = [rows.loc[rows["metric"] == "CA-LR", "value"].mean() for rows in (base, ours)]
    return (
        f"*One image of each digit, as in notebook 05. The pre-trained row has spent the query's share of epsilon "
        f"({spent[0]:.2f}), the last one epsilon {spent[1]:.2f} in all: with DP-SGD on the private digits the accuracy "
        f"of a linear classifier trained on such images goes from {linear[0]:.1f} to {linear[1]:.1f} %.*"
    )


def main() -> int:
    """Fill README.md and docs/, copy published.csv to results/; with --record, first take over what was measured."""
    parser = terminal.parser("python -m dpsynth.report.readme", main.__doc__)
    parser.add_argument("--record", action="store_true", help="take over the measurements in build/ first")
    if parser.parse_args().record:
        record.record()
    for path, text in filled(pages(), blocks()).items():
        (PROJECT / path).write_text(text, encoding="utf-8")
    (results.COMMITTED / results.PUBLISHED.name).write_bytes(results.PUBLISHED.read_bytes())
    return 0


if __name__ == "__main__":
    sys.exit(main())
