"""Fig. D.4: a prior alone, and as the proposal of LARS."""

from matplotlib.figure import Figure

from ..numbers import Numbers
from .style import PAGE, density_panel, in_mathtext, new_figure
from .titles import beside_paper
from .toy_panels import acceptance_panel, resampled_panel, shown_toys, target_panel, toy_labels


def draw_toy_proposal(numbers: Numbers) -> Figure:
    """The target; the first toy's p; the second's π, a and p. π is called as the first toy is."""
    toys = shown_toys(numbers)
    alone, resampled = toys
    labels = toy_labels(numbers, toys)
    name = in_mathtext(labels[0])
    figure = new_figure(PAGE, 2.2)
    target, first, proposal, acceptance, density = figure.subplots(1, 5)
    target_panel(target, alone)
    resampled_panel(first, alone, f"{labels[0]}\n$p_{name}(z)$")
    density_panel(proposal, resampled.proposal, resampled.axis, "proposal", resampled.q.max())
    proposal.set_title(rf"$\pi_{name}(z)$")
    kl = rf"KL$(q\,\|\,\pi)$ = {resampled.kl_proposal:.2f}"
    proposal.set_xlabel(beside_paper(kl, numbers, resampled.name, "kl_proposal"), linespacing=1.3)
    acceptance_panel(acceptance, resampled)
    acceptance.set_title(f"{labels[1]}\n$a(z)$")
    resampled_panel(density, resampled, "$p(z)$")
    return figure
