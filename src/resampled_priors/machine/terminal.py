"""Every message on every terminal: what its encoding lacks is written in ASCII."""

import codecs
import io
import sys

IN_ASCII = {
    "±": "+/-", "−": "-", "—": "--", "–": "-", "…": "...", "∞": "inf", "×": "x", "ε": "epsilon",
    "°": "*", "†": "!", "‡": "#", "≤": "<=", "’": "'", "“": '"', "”": '"',
}  # fmt: skip


def any_terminal() -> None:
    """Let this process write to standard output and error whatever their encoding."""
    codecs.register_error("in_ascii", _in_ascii)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="in_ascii")


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    letters = error.object[error.start : error.end]
    return "".join(IN_ASCII.get(letter, "?") for letter in letters), error.end
