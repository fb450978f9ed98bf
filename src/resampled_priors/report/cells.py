"""All cells of all tables as one data frame."""

from pathlib import Path

import pandas as pd

from ..errors import ResampledPriorsError

TEXT = dict.fromkeys(("missing", "seeds", "device"), str)


def results(folder: str | Path = "results") -> pd.DataFrame:
    """Every measured and every published cell of the tables of a results folder, one a row.

    Args:
        folder: where ``snakemake tables`` has put them; a clone brings those in ``results``.

    Returns:
        a data frame; ``table``, ``row`` and ``column`` say where a cell stands, ``dataset``,
        ``model``, ``prior``, ``budget`` and ``metric`` what it is; ``ours`` is the mean over
        ``seeds``, ``paper`` the paper's number, ``quoted`` one of another system, in nats (Z: a
        probability); NaN where there is none. The other columns are those of the tables' CSV.

    Raises:
        ResampledPriorsError: no table there, or a damaged one.

    Examples:
        >>> cells = results("results")
        >>> maf = cells[(cells.table == "tableD4") & (cells.prior == "maf")]
        >>> maf.set_index("metric").paper.to_dict()
        {'nll': 81.58, 'z': 1.0}
    """
    paths = sorted(Path(folder).glob("*.csv"))
    if not paths:
        raise ResampledPriorsError(
            f"{folder}: no table is there: name the results folder of a clone, or run "
            "`snakemake tables`"
        )
    return pd.concat([_read(path) for path in paths], ignore_index=True)


def _read(path: Path) -> pd.DataFrame:
    try:
        cells = pd.read_csv(path, dtype=TEXT)
        return cells.astype({"ours": float, "paper": float, "quoted": float})
    except (KeyError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ResampledPriorsError(
            f"{path} is not a table's ({reason}): delete it and run `snakemake tables`"
        ) from error
