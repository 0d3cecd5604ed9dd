"""The error of this package."""


class DataError(ValueError):
    """Data that is missing, unreadable or does not fit; the message names the file and says what to do."""
