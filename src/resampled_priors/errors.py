"""The errors that are meant for the user's eyes."""


class ResampledPriorsError(Exception):
    """An error the user can act on: one line that says what is wrong and what to do about it."""


class WrongInput(ResampledPriorsError, ValueError):
    """What a function of the library was given, or was returned by what it was given."""
