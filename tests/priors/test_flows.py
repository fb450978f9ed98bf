"""Flows: densities by quadrature, samples by chi-square, and where they start."""

import pytest
import torch
from energy_priors import ERROR_RATE, chi_square, grid, normal_density

from resampled_priors.priors import build_prior

FLOWS = {
    "realnvp": {"layers": 3, "hidden": [8]},
    "maf": {"layers": 2, "hidden": [8]},
    "spline": {"layers": 3, "hidden": [8], "bins": 8},
}


def flow(family, features=2, std=0.5, **settings):
    """A flow whose weights are not those of its start."""
    torch.manual_seed(0)
    prior = build_prior({"family": family, **FLOWS[family], **settings}, features).double()
    if std:
        for parameter in prior.parameters():
            torch.nn.init.normal_(parameter, std=std)
    return prior.requires_grad_(False)


@pytest.mark.parametrize("family", FLOWS)
def test_the_density_is_one_by_quadrature(family):
    z, weight = grid(2, 501, reach=12.0)
    density = flow(family).log_prob(z).exp()
    assert float(density.sum() * weight) == pytest.approx(1, abs=2e-3)
    assert float((density - normal_density(z)).abs().sum() * weight) > 0.1  # no N(0, I)


def test_samples_of_a_spline_have_its_density():
    """The first of two features, against the density summed over the second."""
    p = flow("spline")
    axis = torch.linspace(-8, 8, 201, dtype=torch.float64)

    def density(z):
        points = torch.stack(torch.broadcast_tensors(z, axis), dim=-1)
        return p.log_prob(points).exp().sum(1) * (axis[1] - axis[0])

    torch.manual_seed(1)
    samples = p.sample((50_000,))[:, :1]
    assert chi_square(samples, density) > ERROR_RATE
    assert chi_square(samples, normal_density) < 1e-20


def test_a_spline_is_the_identity_outside():
    p, z = flow("spline"), torch.tensor([[6.0, -7.0], [-5.5, 9.0]]).double()
    torch.testing.assert_close(p.log_prob(z), normal_density(z).log())


@pytest.mark.parametrize("layers", [1, 8])
def test_a_flow_may_start_as_the_identity(layers):
    z = torch.randn(9, 5).double()
    settings = {"layers": layers, "hidden": [128, 128]}
    log_normal = -(z.square().sum(1) + 5 * torch.log(torch.tensor(2 * torch.pi))) / 2
    start = flow("realnvp", 5, std=None, identity=True, **settings)
    torch.testing.assert_close(start.log_prob(z), log_normal.double())
    glorot = flow("realnvp", 5, std=None, **settings)
    assert (glorot.log_prob(z) - log_normal).abs().max() > 0.1
    assert glorot.state_dict().keys() == start.state_dict().keys()
