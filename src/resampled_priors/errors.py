"""The one error type that is meant for the user's eyes."""


class ResampledPriorsError(Exception):
    """An error the user can act on: one line that says what is wrong and what to do about it."""
