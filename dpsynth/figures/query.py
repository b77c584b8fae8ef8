"""Figures of notebook 01: what the private images voted for, and what the noise does to it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator

from dpsynth.figures.checks import numbers, same_length
from dpsynth.figures.images import NOT_A_RELEASE
from dpsynth.figures.style import BLUE, GREY, INK, PALE, WHISKER, chart, colours, named_bars, readable, styled
from dpsynth.privacy.accounting import ADJACENCY

PANELS = 20  # rows of a histogram that are shown, of more: the first
TOP = 12  # classes that are shown of a row


@styled
def histogram(counts: Any, classes: Sequence[str], labels: Sequence[str], scale: float, *, badge: str) -> Figure:
    """The public classes with the most noisy votes, a panel for each of the first 20 rows of the histogram.

    Args:
        counts: (rows, bins) noisy votes; classes: names of the bins.
        labels: names of the rows; a single row may be of several labels together.
        scale: standard deviation of the noise in a bin, in votes, drawn on each bar; 0 for none.
    """
    votes = np.atleast_2d(numbers("counts", counts))
    if len(votes) == 1 and len(labels) > 1:
        labels = ["all labels together"]
    same_length("labels", labels, votes)
    same_length("classes", classes, votes[0])
    order = np.argsort(-votes[:PANELS], axis=1, kind="stable")[:, :TOP]
    (count, top), names = order.shape, [readable(name, 12) for name in classes]
    columns = min(5, count)
    rows = -(-count // columns)
    longest = max(len(names[b]) for b in order.flat)
    title = f"The {top} public classes with the most noisy votes" + (", by private label" if count > 1 else "")
    key = [Line2D([], [], color=INK, linewidth=1, label=f"noise: ±1 standard deviation, {scale:.3g}")] if scale else []
    figure = chart(max((1.7 + 0.07 * longest) * columns, 4.0), (0.17 * top + 0.7) * rows, title, badge, key=key)
    panels = list(figure.subplots(rows, columns, squeeze=False, sharex=True).flat)
    for panel in panels[count:]:
        panel.remove()
    for row, (panel, bins) in enumerate(zip(panels, order, strict=False)):
        panel.barh(range(top), votes[row, bins], xerr=scale or None, color=BLUE, error_kw=WHISKER)
        panel.set_title(readable(labels[row]), parse_math=False, fontweight="bold")
        named_bars(panel, [names[b] for b in bins], fontsize=10 if longest == 1 else 8)
        panel.locator_params(axis="x", nbins=3)
        if row + columns >= count:
            panel.set_xlabel("noisy votes")
            panel.tick_params(labelbottom=True)
    return figure


@styled
def toy(votes: Mapping[str, int], *, noise_multiplier: float, seed: int) -> Figure:
    """PrivImage's zebra and bee (PrivImage, Sec. 3.3, Fig. 2): a small vote table before and after noise.

    Args:
        votes: of each public class, one a record; noise_multiplier: standard deviation of the Gaussian noise,
            since one record moves one vote; seed: of the noise, which is public here.
    """
    names, before = list(votes), numbers("votes", list(votes.values()))
    after = before + np.random.default_rng([seed, 0x70]).normal(0, noise_multiplier, len(names))
    key = [
        Patch(color=PALE, label="votes"),
        Patch(color=BLUE, label="with noise"),
        Line2D([], [], color=INK, linewidth=1, label=f"±1 standard deviation, {noise_multiplier:g}"),
    ]
    title = f"A toy query: with noise, most votes are for {names[after.argmax()]}"
    figure = chart(max(5.8, 0.9 * len(names) + 1), 2.1, title, "made-up votes, of no run", key=key)
    axes, places = figure.subplots(), np.arange(len(names))
    axes.bar_label(axes.bar(places - 0.2, before, width=0.38, color=PALE), fmt="%d", padding=2, fontsize=8)
    noisy = axes.bar(places + 0.2, after, width=0.38, color=BLUE, yerr=noise_multiplier, error_kw=WHISKER)
    axes.bar_label(noisy, fmt="%.1f", padding=2, fontsize=8)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_xticks(places, [readable(name, 14) for name in names], parse_math=False)
    axes.set_ylabel("votes")
    axes.margins(y=0.15)
    return figure


@styled
def recall_curve(noise: Any, recall: Any, epsilon: Any, *, chosen: float, badge: str) -> Figure:
    """How much of the noiseless selection survives the query's noise, and what each noise costs alone.

    Args:
        noise: (S,) noise multipliers, above 0, ascending; recall: (S, n) in [0, 1], n repetitions at each.
        epsilon: (S,), of the query alone; chosen: the noise multiplier that the rule takes.
    """
    noise = numbers("noise", noise)
    recall = numbers("recall", recall, like=noise).reshape(len(noise), -1)
    cost = numbers("epsilon", epsilon, like=noise)
    dashes = {"color": colours(["rpgen"])["rpgen"], "linestyle": "--"}
    key = [
        Line2D([], [], color=BLUE, marker="o", markersize=3, label=f"mean of {recall.shape[1]}"),
        Line2D([], [], color=BLUE, alpha=0.4, marker="o", linestyle="", markersize=4, label="one repetition"),
        Line2D([], [], label=f"the rule's choice: {chosen:.3g}", **dashes),
    ]
    title = "How much of the noiseless selection survives the query's noise"
    figure = chart(6.4, 3.2, title, badge, note=NOT_A_RELEASE, key=key)
    axes = figure.subplots()
    axes.scatter(np.repeat(noise, recall.shape[1]), recall.ravel(), s=14, color=BLUE, alpha=0.35, linewidths=0)
    axes.plot(noise, recall.mean(1), color=BLUE, marker="o", markersize=3)
    axes.axvline(chosen, **dashes)
    axes.set(ylim=(-0.03, 1.03), ylabel="recall of the noiseless selection")
    above = axes.twiny()
    above.spines["top"].set_visible(True)
    above.tick_params(colors=GREY)
    ends = min(*noise, chosen) / 1.25, max(*noise, chosen) * 1.25
    for side, values in ((axes, noise), (above, cost)):
        side.set(xscale="log", xlim=ends)
        side.set_xticks(noise, [f"{v:.3g}" for v in values])
        side.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("noise multiplier of the query (log scale)")
    above.set_xlabel(f"epsilon of the query alone ({ADJACENCY})", color=GREY)
    return figure
