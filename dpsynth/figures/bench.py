"""The figure of `make bench`: how many images a second each kind of step sees."""

import pandas as pd
from matplotlib.figure import Figure

from dpsynth.figures.style import GREY, INK, OTHERS, chart, named_bars, styled


@styled
def bench(table: pd.DataFrame, *, badge: str) -> Figure:
    """Images (times views) a second, a bar a step with its quartiles, a panel for each number of views.

    Args:
        table: rows of build/bench.csv; of those, the setting that comes first, at each number of its views.
    """
    first = table.iloc[0]
    same = ["width", "channels", "size", "batch"]
    full = table[(table[same] == first[same]).all(axis=1) & table["seconds"].notna()]
    names = list(dict.fromkeys(full["step"]))
    title = f"Training steps: {first['weights']:,.0f} weights, {first['size']}x{first['size']}x{first['channels']}"
    figure = chart(8.2, 0.8 + 0.24 * len(names), f"{title}, batch {first['batch']}", badge)
    panels = figure.subplots(1, full["views"].nunique(), squeeze=False, sharey=True)[0]
    for axes, (views, steps) in zip(panels, full.groupby("views"), strict=True):
        images = steps["batch"] * views
        speed, low, high = (images / steps[name] for name in ("seconds", "quartile3", "quartile1"))
        shades = [OTHERS[1] if name.startswith("ours") else GREY for name in steps["step"]]
        places = [names.index(name) for name in steps["step"]]
        axes.barh(places, speed, color=shades, xerr=[speed - low, high - speed], ecolor=INK, height=0.7)
        axes.set_xlabel("images a second")
        axes.set_title(f"K = {views}", loc="left")
    named_bars(panels[0], names)
    return figure
