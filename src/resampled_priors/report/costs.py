"""What a record of metrics says of a metric, the costs among them."""

import math

from ..runs.records import Record

COST_METRICS = ("prior_parameters", "step_ms", "sample_ms")  # of no data, and without a Z


def value_of(metric: str, metrics: Record) -> float:
    """A metric of a metrics.json; NaN where an older record says nothing of it.

    ``prior_parameters`` are all that is learned of the prior, a(z) among them; ``step_ms`` is the
    mean time of a training step, validations included; ``sample_ms`` that of 1,000 samples.
    """
    if metric == "prior_parameters":
        counts = ("num_acceptance_parameters", "num_prior_parameters")
        return float(sum(metrics.get(key, math.nan) for key in counts))
    if metric == "step_ms":
        return 1_000 * metrics.get("train_seconds", math.nan) / metrics["iterations"]
    if metric == "sample_ms":
        return 1_000 * metrics.get("sample_seconds", math.nan)
    if metric == "nll_se":
        return metrics.get(metric) or math.nan  # one test image alone gives none
    return float(metrics[metric])
