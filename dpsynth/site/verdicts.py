"""Does RPGen hold: the verdicts of its claims in a few lines, from results/claims.csv."""

from collections.abc import Mapping

import pandas as pd

from dpsynth.report.markdown import markdown

TESTED = {"agrees": "agree", "disagrees": "disagree", "cannot tell": "cannot tell"}
PAPER = "RPGen "


def summary(claims: pd.DataFrame) -> str:
    """How the comparisons that RPGen's claims stand on came out, in two sentences.

    Args:
        claims: rows of results/claims.csv, texts.
    """
    counts = _ours(claims)["verdict"].value_counts()
    tested = [f"{counts.get(verdict, 0)} {plural}" for verdict, plural in TESTED.items()]
    others = [f"{count} {verdict}" for verdict, count in counts.items() if verdict not in TESTED]
    number = sum(counts.get(verdict, 0) for verdict in TESTED)
    return (
        f"{number} comparison{'s' if number != 1 else ''} of RPGen's claims {'were' if number != 1 else 'was'} tested, "
        f"by rules that were written before the runs: {', '.join(tested)}. "
        f"Of the others: {', '.join(others) or 'none'}."
    )


def table(claims: pd.DataFrame, files: Mapping[str, str]) -> str:
    """How RPGen's claims came out: an item a row, then a comparison a row, then the items that wait for a run.

    Args:
        files: of each page of the site, its file, for the links.
    """
    ours = _ours(claims).assign(link=lambda rows: [_link(row, files) for row in rows.itertuples()])
    tested, waiting = ours[ours["verdict"].isin(TESTED)], ours[ours["verdict"] == "not run"]
    if len(tested):
        items = {link: rows for link, rows in tested.groupby("link", sort=False)}
        counts = [{"item": link} | {v: (rows["verdict"] == v).sum() for v in TESTED} for link, rows in items.items()]
        lines = [markdown(pd.DataFrame(counts))]
        lines += [f"\n### {rows['item'].iloc[0]}\n\n{markdown(_comparisons(rows))}" for rows in items.values()]
    else:
        lines = ["No claim has been tested yet."]
    if len(waiting):
        links = dict.fromkeys(f"{row.link} (`{row.command}`)" for row in waiting.itertuples())
        lines += ["", f"Not run at today's settings: {', '.join(links)}."]
    return "\n".join(lines)


def _comparisons(rows: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "verdict": rows["verdict"],
            "claim, and what is compared": rows["claim"],
            "here": [f"{row.ours} ({row.interval})" if row.interval else row.ours for row in rows.itertuples()],
            "seeds": rows["seeds"], "scale": rows["scale"],
        }
    )  # fmt: skip


def _ours(claims: pd.DataFrame) -> pd.DataFrame:
    """RPGen's comparisons, each once: the rows of numbered items repeat the one that decides."""
    return claims[claims["item"].str.startswith(PAPER) & ~claims["id"].str.fullmatch(r"C\d+")]


def _link(row: tuple, files: Mapping[str, str]) -> str:
    """An item's name, linked to its page: `make rpgen-fig5` is tables/rpgen_fig5."""
    file = files.get(f"tables/{row.command.removeprefix('make ').replace('-', '_', 1)}")
    return f"[{row.item}]({file})" if file else row.item
