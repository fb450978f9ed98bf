"""Run the library lines of a README with the installed package: readme_library.py README.md"""

import re
import sys
from pathlib import Path

import torch
from torch.distributions import Independent, Normal

import resampled_priors

text = Path(sys.argv[1]).read_text(encoding="utf-8")
section = text.split("\n## In your own model\n")[1]
lines = re.search(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)[1]

torch.manual_seed(0)
proposal = Independent(Normal(torch.zeros(50), torch.ones(50)), 1)
z = proposal.sample((5,))
names = {"proposal": proposal, "z": z, "log_posterior": proposal.log_prob(z)}
exec(compile(lines, sys.argv[1], "exec"), names)
assert -1 < names["prior"].log_z < 0  # a(z) is about 1/2, untrained
print(f"README's library lines run with {resampled_priors.__file__}")
