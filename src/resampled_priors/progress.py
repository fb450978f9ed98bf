"""Progress on long work: a bar in a terminal, plain lines in a log."""

import sys
from typing import Any

from tqdm import tqdm


class _Lines:
    """A stream that ends each bar tqdm draws with a line break instead of a carriage return."""

    def write(self, text: str) -> None:
        text = text.strip("\r\n ")
        if text:
            print(text, file=sys.stderr, flush=True)

    def flush(self) -> None:
        sys.stderr.flush()


def progress_bar(**options: Any) -> tqdm:
    """A tqdm bar with tqdm's own options; a line every 30 seconds where there is no terminal."""
    if sys.stderr.isatty():
        return tqdm(dynamic_ncols=True, **options)
    return tqdm(file=_Lines(), ascii=True, ncols=100, mininterval=30, maxinterval=30, **options)
