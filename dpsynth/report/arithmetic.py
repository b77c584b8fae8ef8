"""What RPGen and PrivImage say of their results, recomputed from their own tables: does the text follow from the cells?

A change is signed. Where a text leaves open whether it is in percent or points, and of what a mean was taken, each way
to read it is tried. The cells of tables are rounded, so that each reading has a range; numbers of images and settings
(a selection ratio, a noise multiplier, a delta) are exact.
"""

from collections.abc import Iterator

import pandas as pd

from dpsynth.report import arithmetic_privimage
from dpsynth.report.printed import AT_ONE, Claim, accuracies, best, change, equal, fid, percent, printed, said, table
from dpsynth.report.rounding import Rounded, values

RPGEN, PRIVIMAGE = "RPGen", "PrivImage"
TWINNED = ["PRIVIMAGE+D", "PRIVIMAGE+G"]  # the rows of PrivImage's Table 2 that its Table 3 repeats
CIFAR = ("CIFAR-10", "10")  # the setting of most sentences: set and epsilon


def checks() -> pd.DataFrame:
    """A row a claim: source, claim, printed, recomputed (what each reading gives, after its name, and its range) and
    verdict, "disagrees" if what rounds to the printed number is in no reading's range, else "agrees"."""
    parts = (_averages, _main_results, _ablations, _images, _copies, arithmetic_privimage.claims, _benchmarks)
    return pd.DataFrame([claim.row() for part in parts for claim in part()])


def _averages() -> Iterator[Claim]:
    """RPGen's abstract, and its "best results across all settings"."""
    others = table(RPGEN, "Table 1")
    ours, base = others.pop("RPGen (Ours)"), others["PRIVIMAGE+D"]
    nearest = percent(fid(ours), fid(others).min(axis=1))
    readings = percent(fid(ours), fid(base)) | {f"{k}, best baseline of each column": v for k, v in nearest.items()}
    claim = "On average RPGen's FID is {} % below that of the SOTA baseline, PrivImage+D."
    yield said(RPGEN, claim, ("RPGen", "FID change"), readings)
    readings = change(accuracies(ours), accuracies(base))
    yield said(RPGEN, "On average RPGen's accuracy is {} % above PrivImage+D's.", ("RPGen", "CA change"), readings)
    yield best(RPGEN, "RPGen is best in all {} columns of Table 1.", ours, others)


def _main_results() -> Iterator[Claim]:
    """Differences that RPGen's Main Results name."""
    rows = table(RPGEN, "Table 1")
    for metric, dataset, epsilon, row in (
        ("CA-CNN", *CIFAR, "PRIVIMAGE+D"), ("FID", *CIFAR, "PRIVIMAGE+D"), ("FID", "CelebA32", "10", "PRIVIMAGE+G"),
        ("FID", "CelebA64", "5", "PRIVIMAGE+G"),
    ):  # fmt: skip
        ours, base = (rows.at[(metric, dataset, epsilon), name] for name in ("RPGen (Ours)", row))
        readings = {"points": ours - base} if metric == "CA-CNN" else {"percent": 100 * (ours / base - 1)}
        way = "above" if metric == "CA-CNN" else "below"
        claim = f"RPGen's {metric} is {{}} % {way} that of {row}, {dataset}, epsilon {epsilon}."
        yield said(RPGEN, claim, ("RPGen", f"{metric} change", dataset, epsilon), readings)
    rows = accuracies(table(RPGEN, "Table 2", AT_ONE))
    for row in ("NonPriv", "Real"):
        readings, where = change(rows["RPGen (Ours)"], rows[row]), (f"RPGen against {row}", "CA change", *CIFAR)
        yield said(RPGEN, f"RPGen's accuracy is {{}} % below that of {row}, on average.", where, readings)


def _ablations() -> Iterator[Claim]:
    """RPGen's ablations beside its Table 1, and its introduction beside its ablations."""
    rows = table(RPGEN, "Table 1").xs(("CIFAR-10", "10"), level=("dataset", "epsilon"))
    ours, base, none = rows["RPGen (Ours)"], rows["PRIVIMAGE+D"], "RPGen, gamma = 0"
    readings = {"percent": 100 * (base["FID"] / ours["FID"] - 1)}
    claim = "Without AMP, which is PrivImage+D in Table 1, the FID is {} % higher."
    yield said(RPGEN, claim, (none, "FID change", *CIFAR), readings)
    readings = change(accuracies(base), accuracies(ours)) | {"points, CNN": base["CA-CNN"] - ours["CA-CNN"]}
    claim = "Without AMP, which is PrivImage+D in Table 1, accuracy is {} % lower."
    yield said(RPGEN, claim, (none, "CA change", *CIFAR), readings)
    whole = "RPGen, selection ratio = 100%"
    readings = {"by its ablation": 1 + Rounded.read(printed(RPGEN, whole, "FID change", *CIFAR)) / 100}
    instead = {"PDP-Diffusion in Table 1, without selection and AMP": rows.at["FID", "PDP-Diffusion"] / ours["FID"]}
    claim = "Without selection the FID is nearly {} times as large."
    yield said(RPGEN, claim, (whole, "FID ratio", *CIFAR), readings, instead)
    for metric in ("FID", "CA"):
        readings = {"by its ablation": int(printed(RPGEN, f"RPGen, best {metric}", "selection ratio", *CIFAR))}
        where = ("RPGen, best", "selection ratio", *CIFAR)
        yield said(RPGEN, f"A selection ratio of {{}} % is optimal, by {metric}.", where, readings)


def _images() -> Iterator[Claim]:
    """Sets of which RPGen counts the parts too."""
    for dataset in ("CelebA", "CIFAR-10"):
        parts = [int(printed(RPGEN, part, "images", dataset)) for part in ("training", "validation", "test")]
        yield said(RPGEN, f"{dataset} has {{}} images.", ("all", "images", dataset), {"sum of its parts": sum(parts)})


def _copies() -> Iterator[Claim]:
    """Rows that stand in two tables: how many of their cells are equal."""
    theirs, ours = table(PRIVIMAGE, "Table 2"), table(RPGEN, "Table 1")
    seeds = printed(RPGEN, "RPGen", "seeds")
    claim = f"The {{}} cells of PrivImage's Table 2 stand, rounded, in RPGen's Table 1, of averages over {seeds} seeds."
    yield equal(RPGEN, claim, values(theirs).round(1), values(ours[theirs.columns]))
    twins = table(PRIVIMAGE, "Table 3", AT_ONE)
    own = table(RPGEN, "Table 2", AT_ONE)[["NonPriv"]].dropna()
    claim = "The {} cells of NonPriv in Table 2 are those of PrivImage's own twin, NonPrivD, rounded."
    twin = values(twins.loc[own.index, ["NonPrivD"]]).round(1).set_axis(own.columns, axis=1)
    yield equal(RPGEN, claim, twin, values(own))
    before = theirs.xs("10", level="epsilon")[TWINNED]
    claim = "The {} cells of PrivImage+D and +G in Table 3 are those of Table 2."
    yield equal(PRIVIMAGE, claim, before, twins.loc[before.index, TWINNED])


def _benchmarks() -> Iterator[Claim]:
    """FETA-Pro's accuracies beside its logs, its README beside its abstract; one cell that two repositories plot."""
    source, plot = "FETA-Pro", table("FETA-Pro", "plot/ablation.py")
    logs = table(source, "results_demo")["FETA-Pro"]
    for dataset in ("MNIST", "F-MNIST", "CelebA32", "Camelyon17"):
        nets = [logs[metric, dataset, "1"] for metric in ("CA-ResNet", "CA-WRN", "CA-ResNeXt")]
        readings = {"best of three classifiers": max(nets), "their mean, as its code logs": logs["CA", dataset, "1"]}
        cell = printed(source, "FETA-Pro", "accuracy", dataset, "1", name="plot/ablation.py")
        yield Claim(source, f"FETA-Pro's accuracy is {{}} %, {dataset}, epsilon 1.", cell, readings)
    for metric in ("fidelity gain", "utility gain"):
        cell, other = (printed(source, "FETA-Pro", metric, "all", "1", name=name) for name in ("README", "abstract"))
        yield Claim(
            source, f"FETA-Pro's {metric} is {{}} %, by its README.", cell, {"by its abstract": Rounded.read(other)}
        )
    cell = printed("DPImageBench", "DPDM", "FID", "F-MNIST", "1", name="plot/plot_eps_change.py")
    readings = {"plotted by FETA-Pro, with the same accuracy": plot.at[("FID", "F-MNIST", "1"), "DPDM"]}
    yield Claim("DPImageBench", "DPDM's FID is {}, F-MNIST, epsilon 1.", cell, readings)
