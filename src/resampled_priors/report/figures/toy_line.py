"""Fig. 1: a toy on the line."""

from matplotlib.figure import Figure

from ..numbers import Numbers
from .style import ACCEPTANCE, NARROW, PROPOSAL, RESAMPLED, TARGET, new_figure
from .toy_panels import shown_toys


def draw_toy_line(numbers: Numbers) -> Figure:
    """q, π, a and p, and Z."""
    (toy,) = shown_toys(numbers)
    figure = new_figure(NARROW, 3.0)
    densities, acceptance = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    densities.fill_between(toy.axis, toy.q, color=TARGET, alpha=0.25, lw=0)
    densities.plot(toy.axis, toy.q, color=TARGET, label="target $q(z)$")
    densities.plot(toy.axis, toy.proposal, color=PROPOSAL, ls="--", label=r"proposal $\pi(z)$")
    densities.plot(toy.axis, toy.p, color=RESAMPLED, label=r"$p(z) = \pi(z)\,a(z)\,/\,Z$")
    densities.set(ylim=(0, None), ylabel="density")
    densities.legend(loc="upper left", bbox_to_anchor=(0.98, 1.0), handlelength=1.2)
    acceptance.plot(toy.axis, toy.a, color=ACCEPTANCE)
    acceptance.axhline(toy.z, color=PROPOSAL, lw=0.8, ls=":")
    acceptance.annotate(
        f"$Z$ = {toy.z:.2f}", (3, toy.z), (3, 0), textcoords="offset points", va="center"
    )
    acceptance.set(ylim=(0, 1.05), xlim=(-3, 3), xlabel="$z$", ylabel="$a(z)$", yticks=(0, 0.5, 1))
    kls = rf"$\mathrm{{KL}}(q\,\|\,\pi)$ = {toy.kl_proposal:.2f},  "
    kls += rf"$\mathrm{{KL}}(q\,\|\,p)$ = {toy.kl:.3f}"
    densities.set_title(kls)
    return figure
