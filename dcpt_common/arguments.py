"""Types of numbers and texts on command lines: what is out of range is refused by argparse, with an example."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def filled(text: str) -> str:
    """A `type=` of argparse for names and paths: `--gt ""`, as of a variable that is not set, is not no --gt.

    Raises:
        argparse.ArgumentTypeError: If the text is empty.
    """
    if not text.strip():
        raise argparse.ArgumentTypeError("must not be empty")
    return text


def whole(least: int) -> Callable[[str], int]:
    """A `type=` of argparse for whole numbers from `least`.

    Returns:
        A function from text to the number, which raises `argparse.ArgumentTypeError` for any other text.
    """

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"must be a whole number from {least}, not '{text}'")
        return int(text)

    return number


def between(low: float, high: float, what: str) -> Callable[[str], float]:
    """A `type=` of argparse for numbers above `low` and below `high`.

    Args:
        low: What the number must be above.
        high: What it must be below.
        what: The quantity and an example, for the message: "a number of gigabytes such as 4 or 0.5".

    Returns:
        A function from text to the number, which raises `argparse.ArgumentTypeError` for any other text.
    """

    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = low
        if not low < value < high:  # nor is NaN
            raise argparse.ArgumentTypeError(f"must be {what}, not '{text}'")
        return value

    return number
