"""The errors that this package raises for what a user can fix, each with a message that says how."""


class OptionError(ValueError):
    """An option file, or a value in it, is wrong; the message names file and key and says what would be right."""


class MetricError(ValueError):
    """A metric cannot be computed on an image; the message names both, and says what would be right."""


class Stopped(Exception):  # noqa: N818 - not an error: the run was asked to stop, and did so in good order
    """The run was asked to stop (Ctrl-C, SIGTERM, SIGUSR1); its state is saved."""


class RunError(RuntimeError):
    """Something outside the run has ended it; the message says what, and what to do."""
