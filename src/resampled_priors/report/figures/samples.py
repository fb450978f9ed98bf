"""A grid of images from one run: samples of the model, or proposals ranked by a."""

import math
from pathlib import Path

import matplotlib.image
import numpy as np
import torch

from ...errors import ResampledPriorsError
from ...files import atomic_write
from ...runs.load import load_run
from .images import as_bytes, image_grid


@torch.no_grad()
def write_samples(
    run: Path, output: Path, num_images: int, ranked: bool, seed: int, device: str = "cpu"
) -> None:
    """Write a square grid of images, row by row, whole or not at all.

    Args:
        run: the folder of a run whose Z is known.
        output: the .png file to write.
        ranked: show proposals instead, the highest a(z) first, as in Fig. 3.

    Raises:
        ResampledPriorsError: the run is not whole; it has no a(z) to rank by; another suffix.
    """
    if output.suffix != ".png":
        raise ResampledPriorsError(f"{output} is no .png file: name one")
    model = load_run(run, device)
    torch.manual_seed(seed)
    if ranked:
        if model.resampling.truncation == 1:
            raise ResampledPriorsError(
                f"{run} has no acceptance function to rank by: leave out --ranked"
            )
        log_a, decode = model.rank_proposals(num_images)
        images = decode(torch.arange(num_images, device=log_a.device))
        print(f"log a from {log_a[0]:.3g} (top left) to {log_a[-1]:.3g} nats")
    else:
        images = model.sample_images(num_images)
    columns = math.ceil(math.sqrt(num_images))
    pixels = as_bytes(images.cpu(), model.image_shape)
    grid = image_grid(pixels, math.ceil(num_images / columns), columns)
    with atomic_write(output) as temporary:
        matplotlib.image.imsave(temporary, np.stack([grid] * 3, axis=-1))  # bytes as they are
    print(f"{num_images} images in {output}")
