"""A prepared data set: what a model is trained and tested on, and how its file is read."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import ResampledPriorsError
from ..files import sha256
from . import IMAGE_SHAPE, SPLITS

FORMAT_VERSION = 1
METADATA_KEY = "resampled_priors"
KINDS = {"grey": torch.uint8, "binary": torch.uint8, "real": torch.float32}


@dataclass(frozen=True, eq=False)
class Dataset:
    """A prepared data set, on the CPU. Images are rows of pixels, row by row from the top left.

    Attributes:
        name: as in the config.
        kind: `grey` (uint8, 0..255), `binary` (uint8, 0 and 1) or `real` (float32).
        train, validation, test: images, (N, pixels).
        labels: split -> (N,) int64; empty where the data set has none.
        provenance: name, sha256 and verified of each raw file.
        image_shape: height and width; their product is the number of pixels.
    """

    name: str
    kind: str
    train: Tensor
    validation: Tensor
    test: Tensor
    labels: dict[str, Tensor]
    provenance: list[dict[str, Any]]
    image_shape: tuple[int, int] = IMAGE_SHAPE

    @property
    def verified(self) -> bool:
        """Whether every raw file is the published one."""
        return all(file["verified"] for file in self.provenance)

    def images(self, split: str) -> Tensor:
        """The images of one split as they are kept."""
        if split not in SPLITS:
            raise ResampledPriorsError(f"Unknown split {split!r}: known are {', '.join(SPLITS)}.")
        return getattr(self, split)

    def means(self, split: str) -> Tensor:
        """What the images of one split are on average: grey/255, else bits or values themselves.

        (N, pixels) float32.
        """
        return self.means_of(self.images(split))

    def means_of(self, images: Tensor) -> Tensor:
        """``means`` of some of its images as they are kept, (n, pixels), on any device."""
        return images.float() / 255 if self.kind == "grey" else images.float()

    def binarize(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """What is modelled of images of this data set, float32: a fresh draw of bits (`grey`),
        else the bits or values themselves.
        """
        return binarize(images, generator) if self.kind == "grey" else images.float()

    def evaluation_images(self, split: str, seed: int) -> Tensor:
        """What is modelled of one split, (N, pixels) float32, the same for the same seed."""
        images = self.images(split)
        generator = torch.Generator().manual_seed(len(SPLITS) * seed + SPLITS.index(split))
        return self.binarize(images, generator)


def binarize(grey: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw each pixel from a Bernoulli distribution with probability grey/255.

    Args:
        grey: uint8, any shape, any device.
        generator: of the same device; None: that device's default.

    Returns:
        float32 zeros and ones of the same shape and device. 0 always gives 0 and 255 always 1,
        because the uniform draw lies in [0, 1).
    """
    uniform = torch.rand(grey.shape, generator=generator, device=grey.device, dtype=torch.float32)
    return uniform.lt_(grey.float() / 255)  # in place: this runs at every training step


def checksum_file(prepared: str | Path) -> Path:
    """The file beside a prepared one that `sha256sum --check` reads, too."""
    return Path(f"{prepared}.sha256")


def load_dataset(path: str | Path) -> Dataset:
    """Read a prepared file; ResampledPriorsError when it is missing, damaged or no such file.

    Its checksum is compared where there is one: a pixel changed on a disk is a pixel still.
    """
    from safetensors import safe_open

    remedy = "delete it and prepare the data set again."
    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})[METADATA_KEY])
            tensors = {key: file.get_tensor(key) for key in file.keys()}
        checksum = checksum_file(path)
        if checksum.exists() and sha256(path).encode() not in checksum.read_bytes():
            raise ValueError(f"its content is not that of {checksum.name}")
        name, kind, provenance = (about.get(key) for key in ("name", "kind", "provenance"))
        shape = about.get("image_shape", list(IMAGE_SHAPE))
    except FileNotFoundError as error:
        raise ResampledPriorsError(f"{path} is missing: prepare the data set first.") from error
    except Exception as error:  # a damaged file makes the reader raise any of half a dozen kinds
        reason = " ".join(str(error).split())
        raise ResampledPriorsError(
            f"{path} is not a whole prepared data set ({reason}): {remedy}"
        ) from error
    if (version := about.get("format_version")) != FORMAT_VERSION:
        raise ResampledPriorsError(
            f"{path} has format version {version}, this package reads {FORMAT_VERSION}: {remedy}"
        )
    described = [type(x) for x in (name, kind, provenance, shape)] == [str, str, list, list]
    if not described or kind not in KINDS or [type(side) for side in shape] != [int, int]:
        raise ResampledPriorsError(f"{path} does not say what it holds: {remedy}")
    for split in SPLITS:
        image = tensors.get(split, torch.empty(0))
        if image.dtype != KINDS[kind] or image.shape[1:] != (math.prod(shape),):
            raise ResampledPriorsError(
                f"{path} has no {split} images (N, {math.prod(shape)}) {KINDS[kind]}: {remedy}"
            )
        label = tensors.get(f"{split}_labels", torch.zeros(len(image), dtype=torch.int64))
        if label.dtype != torch.int64 or label.shape != image.shape[:1] or not len(image):
            raise ResampledPriorsError(f"{path} has no {split}_labels (N,) int64: {remedy}")
    return Dataset(
        name=name,
        kind=kind,
        **{split: tensors[split] for split in SPLITS},
        labels={s: tensors[f"{s}_labels"] for s in SPLITS if f"{s}_labels" in tensors},
        provenance=provenance,
        image_shape=tuple(shape),
    )
