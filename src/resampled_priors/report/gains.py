"""What each prior gains in NLL over the standard prior: of the same model, data set and budget."""

from pathlib import Path

import pandas as pd

from ..errors import ResampledPriorsError
from .tables import MARKS, layout

SAME = ["dataset", "model", "budget"]
OVER = "_standard"  # ends the columns of the standard prior


def gains_over_standard(path: Path) -> pd.DataFrame:
    """The NLLs of a table of rivals as gains in nats, laid out as the table; empty of another.

    A gain has the paper's in parentheses, and in square brackets another paper's where both of its
    numbers have the same source. An NLL that is an upper bound gives a lower bound of the gain.

    Raises:
        ResampledPriorsError: a damaged table.
    """
    try:
        rows = pd.read_csv(path)
        if "published" not in rows:
            return pd.DataFrame()
        rows = rows[rows["metric"] == "nll"]
        standard = rows[rows["prior"] == "standard"].drop_duplicates(SAME)
        rows = rows[rows["prior"] != "standard"].merge(standard, on=SAME, suffixes=("", OVER))
        for name in ("ours", "paper", "published"):
            rows[name] = rows[name + OVER] - rows[name]
        rows.loc[rows["source"] != rows["source" + OVER], "published"] = float("nan")
        there = rows.groupby("row")["ours"].transform("count") > 0
        return layout(rows[there], _text) if there.any() else pd.DataFrame()
    except (KeyError, TypeError, ValueError) as error:
        raise ResampledPriorsError(
            f"{path} is not a table ({' '.join(str(error).split())}): make it again"
        ) from error


def _text(row: pd.Series) -> str:
    if pd.isna(row["ours"]):
        return MARKS["missing"][0]
    text = f"≥ {row['ours']:.2f}" if pd.notna(row.get("is_bound")) else f"{row['ours']:.2f}"
    text += f" ({row['paper']:.2f})" if pd.notna(row["paper"]) else ""
    return text + (f" [{row['published']:.2f}]" if pd.notna(row["published"]) else "")
