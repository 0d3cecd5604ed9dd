"""`DataError`, the error that this package raises for data that a user can fix."""


class DataError(ValueError):
    """Data that is missing, unreadable or does not fit; the message names the file and says what to do."""
