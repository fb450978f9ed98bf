"""What figures call a prior and its network a(z), and the paper's numbers beside ours."""

from ...contracts import Prior
from ..numbers import Numbers

STANDARD = r"$\mathcal{N}(0, I)$"


def network_name(prior: Prior) -> str:
    """a(z) in the paper's notation, MLP[2−100−100−1]; one of another kind by its class."""
    log_a = getattr(prior, "log_a", prior)
    sizes = getattr(log_a, "sizes", None)
    return type(log_a).__name__ if sizes is None else f"MLP[{'−'.join(map(str, sizes))}]"


def prior_title(name: str, prior: Prior) -> str:
    """A prior on two lines: its name in the config and what it is; LARS with its network."""
    if prior.truncation == 1:
        return f"{name} prior\n{prior.label}"
    # The paper's proposal goes without saying.
    proposal = "" if prior.proposal_label == STANDARD else f" on {prior.proposal_label}"
    return f"{prior.label} prior{proposal}\n$a$ = {network_name(prior)}"


def paper_value(numbers: Numbers, place: str, metric: str) -> float | None:
    """The paper's number for a run or a toy of this figure, where it has one."""
    value = numbers.get(f"paper/{place}/{metric}")
    return None if value is None else float(value)


def beside_paper(text: str, numbers: Numbers, place: str, metric: str) -> str:
    """Ours, and on a line of its own the paper's number, where it has one."""
    paper = paper_value(numbers, place, metric)
    return text if paper is None else f"{text}\n(paper: {paper:.2f})"
