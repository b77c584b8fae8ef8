"""What PrivImage says of its results, recomputed from its own tables; see `arithmetic`."""

import math
from collections.abc import Iterator

import pandas as pd

from dpsynth.report.printed import AT_ONE, Claim, accuracies, best, change, fid, numbers, percent, printed, said, table
from dpsynth.report.rounding import Rounded, mean

SOURCE = "PrivImage"
TWINS = {"PRIVIMAGE+D": "NonPrivD", "PRIVIMAGE+G": "NonPrivG"}
CIFAR = ("CIFAR-10", "10")  # the setting of most sentences: set and epsilon


def claims() -> Iterator[Claim]:
    """All that is checked of PrivImage."""
    for part in (_averages, _rq1, _budgets, _twins, _costs, _sizes, _shares, _query):
        yield from part()


def _averages() -> Iterator[Claim]:
    """PrivImage's abstract, of both its models, beside Table 2."""
    rows = table(SOURCE, "Table 2")
    ours, base = (pd.concat([rows[row] for row in names]) for names in (TWINS, ["PDP-Diffusion"] * len(TWINS)))
    claim = "On average the FID of PrivImage+D and +G is {} % below that of PDP-Diffusion."
    yield said(SOURCE, claim, ("PRIVIMAGE", "FID change"), percent(fid(ours), fid(base)))
    claim = "On average the accuracy of PrivImage+D and +G is {} % above that of PDP-Diffusion."
    readings = change(accuracies(ours), accuracies(base))
    yield said(SOURCE, claim, ("PRIVIMAGE", "CA change"), readings)
    others = rows.drop(columns=list(TWINS))
    better = pd.concat([fid(rows)[list(TWINS)].min(axis=1), accuracies(rows)[list(TWINS)].max(axis=1)])
    claim = "PrivImage+D or +G is best in all {} columns of Table 2."
    yield best(SOURCE, claim, better.loc[others.index], others)


def _rq1() -> Iterator[Claim]:
    """Differences at epsilon 10 that PrivImage's RQ1 names."""
    rows = table(SOURCE, "Table 2").xs("10", level="epsilon")
    for dataset in ("CIFAR-10", "CelebA32", "CelebA64"):
        at = rows.loc[("FID", dataset)]
        readings = {f"{row}, percent": 100 * (at[row] / at["PDP-Diffusion"] - 1) for row in TWINS}
        wrong = {"PRIVIMAGE+D against DPGAN-p": 100 * (at["PRIVIMAGE+D"] / at["DPGAN-p"] - 1)}
        where, instead = ("PRIVIMAGE", "FID change", dataset, "10"), wrong if dataset == "CIFAR-10" else None
        claim = f"PrivImage's FID is {{}} % below that of PDP-Diffusion, {dataset}, epsilon 10."
        yield said(SOURCE, claim, where, readings, instead)
    cell, again = ("CA-CNN", "CIFAR-10"), table(SOURCE, "Table 3", AT_ONE)
    readings = {
        f"points, with +D of {name}": of.at[cell, "PRIVIMAGE+D"] - rows.at[cell, "PDP-Diffusion"]
        for name, of in (("Table 2", rows), ("Table 3", again))
    }
    where = ("PRIVIMAGE+D", "CA-CNN change", *CIFAR)
    claim = "PrivImage+D's CA-CNN is {} % above that of PDP-Diffusion, CIFAR-10, epsilon 10."
    yield said(SOURCE, claim, where, readings)


def _budgets() -> Iterator[Claim]:
    """How the FID rises from epsilon 10 to epsilon 1, by PrivImage's RQ1."""
    rows = table(SOURCE, "Table 2")
    told = numbers().query("table == 'text' and metric == 'FID change' and epsilon == '1'")
    for row, dataset in zip(told["row"], told["dataset"], strict=True):
        high, low = (rows.at[("FID", dataset, epsilon), row] for epsilon in ("10", "1"))
        readings, instead = {"percent": 100 * (low / high - 1)}, {"percent of that at 1": 100 * (1 - high / low)}
        where = (row, "FID change", dataset, "1")
        claim = f"From epsilon 10 to 1 the FID of {row} rises by {{}} %, {dataset}."
        yield said(SOURCE, claim, where, readings, instead)


def _twins() -> Iterator[Claim]:
    """What noise costs PrivImage in accuracy, by its Sec. 6.1."""
    again = accuracies(table(SOURCE, "Table 3", AT_ONE))
    before = accuracies(table(SOURCE, "Table 2")).xs("10", level="epsilon")
    pairs = [(row, f"{row} against {twin}", twin) for row, twin in TWINS.items()]
    for row, compared, twin in [*pairs, ("PRIVIMAGE+D", "PRIVIMAGE against NonPriv", "NonPriv")]:
        readings = change(again[row], again[twin])
        readings |= {"points, with Table 2's row": mean(before[row] - again[twin])}
        claim = f"The accuracy of {row} is {{}} % below that of {twin}, on average."
        yield said(SOURCE, claim, (compared, "CA change", *CIFAR), readings)


def _costs() -> Iterator[Claim]:
    """What PrivImage+D takes and reaches beside a large PDP-Diffusion, by its Table 4."""
    of = table(SOURCE, "Table 4", ("metric", "row"), "method")[["pdp_diffusion", "privimage_d"]].dropna()
    memory, hours = of.loc["GB"], of.loc["hours"].sum() + of.loc["minutes"].sum() / 60
    readings = {"percent, of peaks": _less(memory.max()), "percent, of sums": _less(memory.sum())}
    claim = "PrivImage takes {} % less memory than PDP-Diffusion."
    yield said(SOURCE, claim, ("PRIVIMAGE", "GB change", *CIFAR), readings)
    claim, readings = "PrivImage takes {} % less time than PDP-Diffusion.", {"percent, of sums": _less(hours)}
    yield said(SOURCE, claim, ("PRIVIMAGE", "hours change", *CIFAR), readings)
    of = of.droplevel("row")
    against, pdp, ours = "PRIVIMAGE against PDP-Diffusion", *(accuracies(of)[name] for name in of)
    claim = "By Table 4 the FID is {} % below that of PDP-Diffusion."
    yield said(SOURCE, claim, (against, "FID change", *CIFAR), {"percent": _less(of.loc["FID"])})
    claim = "By Table 4 accuracy is {} % above that of PDP-Diffusion, on average."
    yield said(SOURCE, claim, (against, "CA change", *CIFAR), change(ours, pdp))
    for metric, points in (ours - pdp).items():
        cell = printed(SOURCE, metric.removeprefix("CA-"), f"{metric} change", *CIFAR, name="Table 4")
        yield Claim(SOURCE, f"Table 4's column Changes has {{}} for {metric}.", cell, {"points": points})
    small = accuracies(table(SOURCE, "Table 2").xs(CIFAR, level=("dataset", "epsilon")))["PDP-Diffusion"]
    where = ("PDP-Diffusion, 80M against 1.8M", "CA change", *CIFAR)
    claim = "With Table 4's network PDP-Diffusion is {} % less accurate than with Table 2's, on average."
    yield said(SOURCE, claim, where, change(pdp, small))


def _less(of: pd.Series) -> Rounded:
    """By how many percent PrivImage differs from PDP-Diffusion."""
    return 100 * (of["privimage_d"] / of["pdp_diffusion"] - 1)


def _sizes() -> Iterator[Claim]:
    """PrivImage's sizes of networks, in millions of weights."""
    ours, pdp = (
        Rounded.read(printed(SOURCE, row, "M weights", "CIFAR-10")) for row in ("PRIVIMAGE+D", "PDP-Diffusion")
    )
    where = ("PRIVIMAGE", "weights share", "CIFAR-10")
    yield said(SOURCE, "PrivImage has {} % of PDP-Diffusion's weights.", where, {"Sec. 6.2": 100 * ours / pdp})
    sizes = {name: table(SOURCE, name).loc["M weights", "CIFAR-10", ""] for name in ("Table 1", "Table 5", "Table 6")}
    gan, denoiser = sizes["Table 6"], sizes["Table 5"]["Parameters"]
    parts = {f"{part} of Table 6": gan[f"Parameters of {part}"] for part in ("Gen", "Dis")}
    for row, readings in (
        ("PRIVIMAGE+G", parts | {"both": gan.sum()}), ("PRIVIMAGE+D", {"Table 5": denoiser}),
    ):  # fmt: skip
        cell = printed(SOURCE, row, "M weights", "CIFAR-10", name="Table 1")
        yield Claim(SOURCE, f"{row} has {{}}M weights, by Table 1.", cell, readings)


def _shares() -> Iterator[Claim]:
    """What PrivImage takes of the public set."""
    images = table(SOURCE, "Table 1", ("metric",))
    selected = 100 * images.at["K images", "PRIVIMAGE+D"] / (1000 * images.at["M images", "PDP-Diffusion [15]"])
    ratio = "selection ratio"
    caption = {s: float(printed(SOURCE, f"{ratio}, Figure 7", ratio, s)) for s in ("CIFAR-10", "CelebA")}
    cifar = {"images of Table 1": selected, "caption of Figure 7": caption["CIFAR-10"]}
    readings = {f"CIFAR-10, {k}": v for k, v in cifar.items()} | {"CelebA, caption of Figure 7": caption["CelebA"]}
    yield said(SOURCE, "PrivImage pre-trains on {} % of the public set.", ("PRIVIMAGE", "public share"), readings)
    for dataset, readings in (("CIFAR-10", cifar), ("CelebA", {"caption of Figure 7": caption["CelebA"]})):
        claim = f"The selection ratio of {dataset} is {{}} %, by Appendix F."
        yield said(SOURCE, claim, (f"{ratio}, Appendix F", ratio, dataset), readings)


def _query() -> Iterator[Claim]:
    """What PrivImage's query spends alone, by its Theorem E.2."""
    row = "semantic distribution query"
    for dataset in ("CIFAR-10", "CelebA"):
        noise, delta = (float(printed(SOURCE, row, metric, dataset)) for metric in ("noise multiplier", "delta"))
        spent = 1 / (2 * noise**2) + math.sqrt(2 * math.log(1 / delta)) / noise  # the least over alpha
        claim = f"The query alone spends an epsilon of {{}}, {dataset}."
        yield said(SOURCE, claim, (row, "epsilon", dataset), {"by Theorem E.2": spent})
