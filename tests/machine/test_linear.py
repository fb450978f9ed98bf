"""Linear layers by oneDNN against PyTorch's own in float64, values and gradients of each kind."""

import copy

import pytest
import torch
from torch import nn

from resampled_priors.machine import linear as onednn
from resampled_priors.networks import mlp

SIZES = [50, 40, 30]
ROUNDING = {"rtol": 0, "atol": 5e-6}  # float32, in sums of 50 numbers near 1


@pytest.fixture
def used(monkeypatch):
    """Counts the calls that oneDNN computes; PyTorch builds without it have nothing to test."""
    if not onednn.AVAILABLE:
        pytest.skip("this build of PyTorch has no oneDNN")
    monkeypatch.setattr(onednn, "FASTER", True)
    calls, product = [], onednn.product
    monkeypatch.setattr(onednn, "product", lambda *a, **k: (calls.append(1), product(*a, **k))[1])
    return calls


def both(end, x_shape):
    """A network in float32, the same in float64, and an input for each."""
    torch.manual_seed(0)
    network = mlp(SIZES, end=end)
    for bias in (network[0].bias, network[2].bias):
        nn.init.normal_(bias)
    x = torch.randn(x_shape, requires_grad=True)
    return network, copy.deepcopy(network).double(), x, x.detach().double().requires_grad_()


@pytest.mark.parametrize("faster", [True, False])
@pytest.mark.parametrize("end", [False, True])
@pytest.mark.parametrize("leading", [(), (0,), (7,), (2, 3), (2, 0)])
def test_values_and_gradients(end, leading, faster, used, monkeypatch):
    """By oneDNN, and PyTorch's own way where that is the faster one."""
    monkeypatch.setattr(onednn, "FASTER", faster)
    network, exact, x, x64 = both(end, (*leading, SIZES[0]))
    y, y64 = network(x), exact(x64)
    assert y.shape == (*leading, SIZES[-1])
    assert len(used) == (2 if faster and x.numel() else 0)
    torch.testing.assert_close(y.double(), y64, **ROUNDING)
    weights = torch.randn(y.shape)
    (weights * y).sum().backward()
    (weights * y64).sum().backward()
    assert len(used) == (2 + 4 if faster and x.numel() else 0)
    torch.testing.assert_close(x.grad.double(), x64.grad, **ROUNDING)
    for ours, theirs in zip(network.parameters(), exact.parameters(), strict=True):
        torch.testing.assert_close(ours.grad.double(), theirs.grad, **ROUNDING)


def test_whose_processor_it_is(tmp_path):
    processor = tmp_path / "cpuinfo"
    assert not onednn.is_intel(processor)
    for vendor, intel in (("GenuineIntel", True), ("AuthenticAMD", False)):
        processor.write_text(f"processor\t: 0\nvendor_id\t: {vendor}\ncpu family\t: 6\n")
        assert onednn.is_intel(processor) == intel


def test_only_the_gradients_asked_for_are_computed(used):
    network, _, x, _ = both(True, (7, SIZES[0]))
    network.requires_grad_(False)
    network(x).sum().backward()
    assert len(used) == 2 + 2  # those of the inputs
    assert x.grad is not None
    with torch.no_grad():
        assert not network(x).requires_grad


def strides():
    """Tensors (7, 7) whose memory is laid out in every way there is."""
    torch.manual_seed(0)
    return {
        "rows": torch.randn(7, 7),
        "columns": torch.randn(7, 7).t(),
        "every second": torch.randn(14, 14)[::2, ::2],
        "one row": torch.randn(1, 7).expand(7, 7),
        "one column": torch.randn(7, 1).expand(7, 7),
        "one number": torch.randn(1, 1).expand(7, 7),
    }


@pytest.mark.parametrize("bias", [None, *strides()])
@pytest.mark.parametrize("weight", strides())
@pytest.mark.parametrize("x", strides())
def test_any_layout(x, weight, bias, used):
    """The gradient of the sum comes as one number repeated, too."""
    tensors = [strides()[x], strides()[weight], None if bias is None else strides()[bias][0]]
    results = []
    for to in (torch.float32, torch.float64):
        inputs = [None if t is None else t.detach().to(to).requires_grad_() for t in tensors]
        y = onednn.linear(*inputs)
        y.sum().backward()
        results.append([y, *(t.grad for t in inputs if t is not None)])
    assert len(used) == 3
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours.double(), theirs, **ROUNDING)


def test_the_gradient_has_a_gradient(used):
    network, exact, x, x64 = both(True, (7, SIZES[0]))
    results = []
    for model, data in ((network, x), (exact, x64)):
        (first,) = torch.autograd.grad(model(data).square().sum(), data, create_graph=True)
        penalty = first.square().sum()
        results.append([first, *torch.autograd.grad(penalty, [data, *model.parameters()])])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-4)


def test_forward_mode(used):
    network, exact, x, x64 = both(True, (7, SIZES[0]))
    tangents = {name: torch.randn_like(p) for name, p in network.named_parameters()}
    direction = torch.randn_like(x)
    results = []
    for model, data in ((network, x), (exact, x64)):
        with torch.autograd.forward_ad.dual_level():
            make, to = torch.autograd.forward_ad.make_dual, data.dtype
            parameters = {
                name: make(p.detach(), tangents[name].to(to))
                for name, p in model.named_parameters()
            }
            dual = make(data.detach(), direction.to(to))
            y = torch.func.functional_call(model, parameters, (dual,))
            results.append(torch.autograd.forward_ad.unpack_dual(y).tangent)
    assert len(used) == 2
    torch.testing.assert_close(results[0].double(), results[1], rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("error")  # of torch.func, where it falls back to loops
def test_the_transforms_of_torch_func(used):
    network, exact, x, x64 = both(True, (7, SIZES[0]))
    for transform in (torch.func.jacrev, torch.func.jacfwd, torch.func.hessian):
        ours = torch.func.vmap(transform(network))(x.detach())
        theirs = torch.func.vmap(transform(exact))(x64.detach())
        torch.testing.assert_close(ours.double(), theirs, **ROUNDING)
    assert not used


def test_torch_compile(used):
    network, exact, x, x64 = both(True, (7, SIZES[0]))
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x).double(), exact(x64), **ROUNDING)
    assert not used


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: mlp(SIZES).double(), id="float64"),
        pytest.param(lambda: mlp(SIZES).bfloat16(), id="bfloat16"),
        pytest.param(lambda: mlp([50, 1]), id="one output"),
    ],
)
def test_what_is_not_for_it_is_left_to_pytorch(make, used):
    network = make()
    x = torch.randn(7, 50, dtype=network[0].weight.dtype)
    assert network(x).shape == (7, network[-1].out_features)
    assert not used


def test_number_types_that_do_not_fit_are_refused_as_by_pytorch(used):
    network = mlp(SIZES)
    network[0].double()
    with pytest.raises(RuntimeError, match="dtype"):
        network(torch.randn(7, 50))


def test_layers_keep_the_names_that_weights_are_stored_under():
    assert list(mlp([3, 2, 1]).state_dict()) == ["0.weight", "0.bias", "2.weight", "2.bias"]
