"""make bench: what the costly work costs here, against the arithmetic and against plain PyTorch.

Every measurement runs in a process of its own and alternates with one of the matrix-multiply
rate, so that both saw the same machine. On a CPU that rate is measured twice: of PyTorch's `@`,
and of oneDNN's products, which the package uses. Prints a table and writes it to
benchmarks/output/bench.json.
"""

import argparse
import json
import math
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import reference
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from resampled_priors import AcceptanceFunction, ResampledDistribution
from resampled_priors.data.dataset import Dataset
from resampled_priors.evaluation import Z_BATCH, importance_weighted_terms
from resampled_priors.experiment import Run, load_config, resolve_run
from resampled_priors.lars.normalizer import estimate_z
from resampled_priors.machine import linear as onednn
from resampled_priors.machine.memory import keep_freed_memory
from resampled_priors.models import build_model
from resampled_priors.training.side_by_side import Place
from resampled_priors.training.trainer import Trainer

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "benchmarks" / "output" / "bench.json"
MODELS = ("vae", "hvae", "conv_hvae")
PRIORS = ("standard", "lars", "realnvp", "lars_realnvp")
SAMPLES = 1_000  # K
TOGETHER = 8  # runs in one process

Work = tuple[Callable[[], Any], float]  # what to time, and how many units one call makes


# ---- the work -----------------------------------------------------------------------------


def grey_images(count: int) -> Tensor:
    """As many pixels that are black, white and between as MNIST has."""
    u = torch.rand(count, 784)
    return (255 * ((u - 0.81) / 0.1).clamp(0, 1)).to(torch.uint8)


def trainer(model: str, prior: str, device: str, images: int = 10_000) -> Trainer:
    settings = resolve_run(
        load_config([ROOT / "config.yaml"]), Run("short", "digits", model, prior, 0)
    )
    grey, none = grey_images(images), torch.empty(0, 784)
    data = Dataset("digits", "grey", grey, none, none, {}, [])
    made = Trainer(build_model(settings, data.image_shape), data, settings, device)
    made.start()
    made.advance(until=1)
    return made


def training(who: str, device: str, model: str, prior: str) -> Work:
    if who == "ours":
        ours = trainer(model, prior, device)
        return (lambda: ours.advance(until=10**9)), ours.graph_steps
    plain = reference.build(model, prior).to(device)
    grey = grey_images(10_000).to(device)
    optimizer = torch.optim.Adam(plain.parameters(), lr=3e-4)

    def step() -> None:
        rows = torch.randint(10_000, (128,), device=device)
        reference.training_step(plain, optimizer, grey[rows])

    return step, 1


def training_together(who: str, device: str, model: str, prior: str) -> Work:
    count = TOGETHER if who == "ours" else 1
    runs = [(trainer(model, prior, device), Place(device)) for _ in range(count)]

    def turn() -> None:
        for run, place in runs:
            with place.taken():
                run.advance(until=10**9)

    return turn, sum(run.graph_steps for run, _ in runs)


def z_samples(who: str, device: str) -> Work:
    if who == "ours":
        part = trainer("vae", "lars", device).model.prior
        samples, batch = (10**8, Z_BATCH["cuda"]) if device != "cpu" else (10**6, Z_BATCH["cpu"])
        return (lambda: estimate_z(part.proposal, part.log_a, samples, batch)), samples
    prior = reference.build("vae", "lars").prior.to(device)
    return (lambda: reference.estimate_z(prior, 10**6)), 10**6


def nll(who: str, device: str, model: str) -> Work:
    count = (8 if model == "conv_hvae" else 40) * (1 if device == "cpu" else 25)
    images = (torch.rand(count, 784, device=device) < 0.3).float()
    if who == "ours":
        ours = trainer(model, "lars", device).model.eval()
        ours.prior.log_z.fill_(-0.7)
        return (lambda: importance_weighted_terms(ours, images, SAMPLES)), count * SAMPLES
    plain = reference.build(model, "lars").to(device).eval()
    log_z = torch.tensor(-0.7, device=device)

    def evaluate() -> None:
        reference.negative_log_likelihood(plain, images, SAMPLES, log_z)

    return evaluate, count * SAMPLES


def rare_acceptance(device: str) -> AcceptanceFunction:
    """An acceptance function with Z = 0.01 under N(0, I)."""
    torch.manual_seed(0)
    log_a, z = AcceptanceFunction(50).to(device), torch.randn(50_000, 50, device=device)
    bias = log_a.network[-1].bias
    with torch.no_grad():
        log_a.network[-1].weight.mul_(4)
        for _ in range(20):  # log Z is nearly linear in the bias where a(z) is small
            bias += math.log(0.01) - log_a(z).exp().mean().log()
    return log_a


@torch.no_grad()
def truncated_samples(who: str, device: str) -> Work:
    log_a = rare_acceptance(device)
    if who == "ours":
        zero = torch.zeros(50, device=device)
        normal = torch.distributions.Normal(zero, torch.ones_like(zero))
        proposal = torch.distributions.Independent(normal, 1)
        p = ResampledDistribution(proposal, log_a, truncation=100)
        return (lambda: p.sample((100_000,))), 100_000
    from glasflow.distributions.resampled import ResampledGaussian

    p = ResampledGaussian(50, lambda z: log_a(z).exp()[:, None], truncation=100).to(device).eval()
    p.norm.fill_(0.01)
    return (lambda: p.sample(10_000)), 10_000


WORKS: dict[str, tuple[str, Callable[..., Work], tuple[str, ...]]] = {
    **{
        f"training, {model}, {prior}": ("steps/s", training, (model, prior))
        for model in MODELS
        for prior in PRIORS
    },
    f"training, vae, lars, {TOGETHER} runs together": (
        "steps/s",
        training_together,
        ("vae", "lars"),
    ),
    "Z, MLP[100−100]": ("samples/s", z_samples, ()),
    **{f"NLL, K = 1,000, {model}": ("samples/s", nll, (model,)) for model in MODELS},
    "truncated samples, Z = 0.01, T = 100": ("samples/s", truncated_samples, ()),
}
OTHER_REFERENCE = {
    "truncated samples, Z = 0.01, T = 100": "glasflow",
    f"training, vae, lars, {TOGETHER} runs together": "one run alone",
}


# ---- the clock ----------------------------------------------------------------------------


def seconds(function: Callable[[], Any], device: str, calls: int = 1) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        function()
    if device != "cpu":
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / calls


def matrix_products(device: str) -> tuple[dict[str, Callable[[], Tensor]], int]:
    """The ways to multiply two matrices here, and their multiply-adds."""
    size = 1024 if device == "cpu" else 8192
    matrix = torch.randn(size, size, device=device)
    ways = {"PyTorch": lambda: matrix @ matrix}
    if device == "cpu" and onednn.AVAILABLE:
        ways["oneDNN"] = lambda: onednn.product(matrix, matrix)
    return ways, size**3


def measure(name: str, who: str, device: str, repeats: int) -> dict[str, Any]:
    """Rates of the work and of matrix products, and the work's multiply-adds, per unit."""
    torch.set_num_threads(1)
    if who == "ours":
        keep_freed_memory()
    torch.manual_seed(0)
    _, make, arguments = WORKS[name]
    function, units = make(who, device, *arguments)
    ways, of_product = matrix_products(device)
    for _ in range(3):
        for multiply in ways.values():
            multiply()
        once = seconds(function, device)
    calls = max(1, math.ceil(0.2 / once))
    rates: list[float] = []
    matrix_rates: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(repeats):
        for way, multiply in ways.items():
            matrix_rates[way].append(of_product / seconds(multiply, device, 10))
        rates.append(units / seconds(function, device, calls))
    multiply_adds = None
    if who == "reference":
        with FlopCounterMode(display=False) as counter:
            function()
        multiply_adds = counter.get_total_flops() / 2 / units
    return {"rates": rates, "matrix_rates": matrix_rates, "multiply_adds": multiply_adds}


def in_own_process(name: str, who: str, arguments: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, "--device", arguments.device]
    command += ["--repeats", str(arguments.repeats), "--measure", name, who]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def compare(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    ours, plain = (in_own_process(name, who, arguments) for who in ("ours", "reference"))
    rate, low, *_, high = statistics.median(ours["rates"]), *sorted(ours["rates"])
    row: dict[str, Any] = {"work": name, "unit": WORKS[name][0], "ours": rate}
    row |= {"lowest": low, "highest": high, "reference": statistics.median(plain["rates"])}
    row["matrix_rates"] = {w: statistics.median(r) for w, r in ours["matrix_rates"].items()}
    row["bounds"] = {w: r / plain["multiply_adds"] for w, r in row["matrix_rates"].items()}
    row["ratios_to_bounds"] = {way: rate / bound for way, bound in row["bounds"].items()}
    row["compared_with"] = OTHER_REFERENCE.get(name, "plain PyTorch")
    row["ratio_to_reference"] = rate / row["reference"]
    return row | {"all": {"ours": ours, "reference": plain}}


def two_at_once(arguments: argparse.Namespace) -> float:
    """Rate of two processes that train at the same time, over twice that of one alone."""
    name = "training, vae, lars"
    command = [sys.executable, __file__, "--device", arguments.device]
    command += ["--repeats", str(arguments.repeats), "--measure", name, "ours"]
    rates = []
    for count in (1, 2):
        started = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(count)]
        outputs = [json.loads(process.communicate()[0]) for process in started]
        rates.append(sum(statistics.median(output["rates"]) for output in outputs))
    return rates[1] / (2 * rates[0])


def as_markdown(rows: list[dict[str, Any]]) -> str:
    shown = {
        "work": [row["work"] for row in rows],
        "ours": [f"{row['ours']:,.4g} {row['unit']}" for row in rows],
        "spread": [f"{row['lowest']:,.4g}–{row['highest']:,.4g}" for row in rows],
        **{
            f"of the bound, {way}": [f"{row['ratios_to_bounds'][way]:.2f}" for row in rows]
            for way in rows[0]["bounds"]
        },
        "against": [f"{row['ratio_to_reference']:.3g} × {row['compared_with']}" for row in rows],
    }
    return pd.DataFrame(shown).to_markdown(index=False, disable_numparse=True)


def describe(device: str) -> str:
    if device != "cpu":
        return torch.cuda.get_device_name(device)
    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.exists() else []
    model = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    vectors = next((f for f in ("avx512f", "avx2") if f in flags), platform.machine())
    return f"{model[0] if model else platform.processor()}, {vectors}, one thread"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--only", default="", help="work whose name holds this text")
    parser.add_argument("--output", type=Path, default=OUTPUT, help="the JSON file to write")
    parser.add_argument("--measure", nargs=2, metavar=("WORK", "WHO"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(*arguments.measure, arguments.device, arguments.repeats)))
        return
    rows = []
    for name in (name for name in WORKS if arguments.only in name):
        rows.append(compare(name, arguments))
        print(as_markdown(rows[-1:]).splitlines()[-1], flush=True)
    gflops = {
        way: 2e-9 * statistics.median(row["matrix_rates"][way] for row in rows)
        for way in rows[0]["matrix_rates"]
    }
    products = ", ".join(f"{rate:,.0f} by {way}" for way, rate in gflops.items())
    about = f"{describe(arguments.device)}; GFLOP/s in matrix products: {products}"
    print(f"\n{about}; torch {torch.__version__}\n\n{as_markdown(rows)}")
    together = None
    if not arguments.only and arguments.device == "cpu":
        together = two_at_once(arguments)
        print(f"\nTwo training processes at once: {together:.2f} of twice the rate of one.")
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    record = {"machine": about, "torch": torch.__version__, "date": time.strftime("%Y-%m-%d")}
    record |= {"two_at_once": together, "rows": rows}
    arguments.output.write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
