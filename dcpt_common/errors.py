"""The error of a missing BasicSR; dcpt_compat raises it, the command line reports it."""


class MissingEngineError(ImportError):
    """BasicSR is not installed; the message says how it is."""
