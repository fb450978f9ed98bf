"""Data sets: raw files (raw.py), what is in them (readers.py), prepared files (prepare.py), and
what a model is trained and tested on (dataset.py).

Neither this file nor raw.py imports torch.
"""

SPLITS = ("train", "validation", "test")
IMAGE_SHAPE = (28, 28)  # height and width: of all published images, and where nothing is said
