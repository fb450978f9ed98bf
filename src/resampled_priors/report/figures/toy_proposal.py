"""Fig. D.4: a prior alone, and as the proposal of LARS."""

from matplotlib.figure import Figure

from ..numbers import Numbers
from .style import COLUMN, density_panel, in_mathtext, new_figure
from .toy_panels import acceptance_panel, resampled_panel, shown_toys, target_panel, toy_labels


def draw_toy_proposal(numbers: Numbers) -> Figure:
    """The target; the first toy's p; the second's π, a and p. π is called as the first toy is."""
    toys = shown_toys(numbers)
    alone, resampled = toys
    labels = toy_labels(numbers, toys)
    name = in_mathtext(labels[0])
    figure = new_figure(COLUMN, 1.6)
    parts = figure.subfigures(1, 3, width_ratios=(1, 1, 3))
    target_panel(parts[0].subplots(), alone)
    parts[0].suptitle(" ", fontsize=7)
    resampled_panel(parts[1].subplots(), alone, rf"$p_{name}(z)$")
    parts[1].suptitle(labels[0], fontsize=7)
    proposal, acceptance, density = parts[2].subplots(1, 3)
    density_panel(proposal, resampled.proposal, resampled.axis, "proposal", resampled.q.max())
    proposal.set_title(rf"$\pi_{name}(z)$")
    proposal.set_xlabel(rf"$\mathrm{{KL}}(q\,\|\,\pi)$ = {resampled.kl_proposal:.2f}")
    acceptance_panel(acceptance, resampled)
    resampled_panel(density, resampled, "$p(z)$")
    parts[2].suptitle(labels[1], fontsize=7)
    return figure
