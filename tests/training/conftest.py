"""The embedded data set with few validation images."""

import dataclasses

import pytest

from resampled_priors.data.dataset import Dataset, load_dataset


@pytest.fixture(scope="module")
def small(digits) -> Dataset:
    data = load_dataset(digits)
    return dataclasses.replace(data, validation=data.validation[:50])
