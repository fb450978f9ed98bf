"""Draws docs/budget.svg, NLL against core-seconds, from docs/budget.csv."""

from pathlib import Path

import pandas as pd

from resampled_priors.report.figures.style import new_figure, paper_style

DOCS = Path(__file__).resolve().parents[1] / "docs"
MARKERS = {"standard": "o", "lars": "s", "realnvp": "^", "maf": "v"}


def main() -> None:
    rows = pd.read_csv(DOCS / "budget.csv", keep_default_na=False)
    rows = rows[
        (rows["dataset"] == "dynamic_mnist") & (rows["model"] == "vae") & (rows["nll"] < 110)
    ]
    with paper_style():
        figure = new_figure(3.35, 2.6)
        axes = figure.subplots()
        for prior, marker in MARKERS.items():
            of_prior = rows[rows["prior"] == prior]
            axes.plot(of_prior["core_seconds"], of_prior["nll"], marker, ms=4, label=prior)
        axes.set_xscale("log")
        axes.set_xticks([25, 50, 100, 200], ["25", "50", "100", "200"])
        axes.minorticks_off()
        axes.set(xlabel="core-seconds of training", ylabel="validation NLL (nats)")
        axes.legend()
        figure.savefig(DOCS / "budget.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
