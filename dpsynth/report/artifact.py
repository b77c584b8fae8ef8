"""What is claimed of the papers' tables and figures, as one table: claims.csv, docs/claims.md and ARTIFACT.md."""

import pandas as pd

from dpsynth.report import claims, items
from dpsynth.report.comparison import NONE
from dpsynth.report.items import Item
from dpsynth.report.verdicts import ILLUSTRATION, NOT_RUN, Judged, together

COLUMNS = [
    "id", "item", "claim", "command", "scale", "dataset", "seeds", "paper", "ours", "interval", "rule", "verdict",
]  # fmt: skip


def claims_table(every: list[Item]) -> pd.DataFrame:
    """claims.csv: the 29 numbered items, each with its verdict, then each rule of each parameter file, cell by cell."""
    numbered = items.numbered()
    rows = [_of_item(name, [item for item in every if name in item.experiment.items]) for name in numbered]
    rows = [{"id": f"C{n}"} | row for n, row in enumerate(rows, 1)]
    rows += [{"id": f"{item.name}.{n}"} | _row(item, one) for item in every for n, one in enumerate(item.judged, 1)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _of_item(name: str, among: list[Item]) -> dict:
    """An item's row, with the cells that decided: of the first of its files that was run at several seeds, else run."""
    judged = [(item, [one for one in item.judged if one.item == name]) for item in among]
    ran = [pair for pair in judged if claims.verdict_of(pair[1]) != NOT_RUN]
    told = [pair for pair in ran if any(one.interval for one in pair[1])]  # several seeds before one
    item, rules = (told or ran or judged)[0]
    verdict = claims.verdict_of(rules)
    deciding = next(one for one in rules if one.verdict == verdict)
    return _row(item, deciding) | {"verdict": verdict}


def _row(item: Item, one: Judged) -> dict:
    data = item.rows["dataset"].iloc[0] if len(item.rows) else item.experiment.points()[0].private
    claim = f"{one.claim} {one.metric}: {one.cells}" if one.cells else one.claim
    return {
        "item": one.item, "claim": claim, "command": item.command, "scale": item.experiment.scale, "dataset": data,
        "seeds": one.seeds, "paper": one.paper, "ours": one.ours or one.verdict, "interval": one.interval,
        "rule": one.rule, "verdict": one.verdict,
    }  # fmt: skip


def rules(every: list[Item]) -> pd.DataFrame:
    """The claims that a rule judges, all papers' together: what each says, and what our results say to it."""
    rows = {}
    for item in every:
        for one in item.judged:
            if one.verdict != ILLUSTRATION and not one.rule.startswith(("settings", "value: on the papers'")):
                rows.setdefault((one.item, one.claim, one.metric, item.experiment.scale), []).append(one)
    return pd.DataFrame(
        [
            {
                "item": item, "verdict": together([one.verdict for one in told]), "claim": claim, "metric": metric,
                "ours": "; ".join(f"{one.ours} ({one.interval or 'one seed'})" for one in told if one.ours) or NOT_RUN,
                "seeds": max(one.seeds for one in told), "scale": scale,
            }
            for (item, claim, metric, scale), told in rows.items()
        ]
    )  # fmt: skip


def reviewed(every: list[Item]) -> pd.DataFrame:
    """A line a numbered item: what a reviewer runs, what it takes, what to expect."""
    held = claims_table(every).head(len(items.numbered()))
    by_command = {item.command: item for item in every}
    costs = [_cost(by_command[command].rows) for command in held["command"]]
    return pd.DataFrame(
        {
            "id": held["id"], "item": held["item"], "command": "`" + held["command"] + "`",
            "minutes": [minutes for minutes, _ in costs], "GiB": [peak for _, peak in costs],
            "expected": held["ours"] + (" (" + held["interval"] + ")").where(held["interval"] != "", ""),
            "verdict": held["verdict"],
        }
    )  # fmt: skip


def _cost(rows: pd.DataFrame) -> tuple[str, str]:
    """Minutes of work, what runs share counted in each, and peak memory; where they were measured."""
    seconds = rows.loc[rows["metric"].str.startswith("seconds-"), "value"]
    peaks = rows.loc[rows["metric"].str.startswith("peak-MiB-"), "value"]
    return (f"{seconds.sum() / 60:.0f}", f"{peaks.max() / 1024:.1f}") if len(seconds) else (NONE, NONE)
