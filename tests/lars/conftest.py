"""Each of the acceptance functions that tests of LARS share."""

import pytest
from lars_cases import ACCEPTANCES


@pytest.fixture(params=ACCEPTANCES)
def acceptance(request):
    return ACCEPTANCES[request.param]
