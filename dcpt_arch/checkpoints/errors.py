"""The error of everything that reads checkpoints."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be read or does not fit; the message says which and what to do."""
