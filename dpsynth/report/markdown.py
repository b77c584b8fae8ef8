"""Tables as markdown."""

import pandas as pd


def markdown(table: pd.DataFrame) -> str:
    """A frame as a table, without its index."""
    cells = table.map(lambda value: "not run" if pd.isna(value) else str(value))
    rows = [table.columns.tolist(), ["---"] * len(table.columns), *cells.values.tolist()]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
