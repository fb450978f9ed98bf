"""What a user is told when something is refused: one line."""

import pytest

from resampled_priors.errors import ResampledPriorsError


def refused(match: str):
    """Expect a one-line ResampledPriorsError that matches."""
    return pytest.raises(ResampledPriorsError, match=f"^(?=.*{match})[^\n]*$")
