"""Where the option files are: in a checkout beside this package, in a wheel within it, where setup.py has put them."""

from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
PACKAGED = Path(__file__).resolve().parent / "options"
HOME = PACKAGED.parent if PACKAGED.is_dir() else CHECKOUT
"""The folder that has options/ in it."""
OPTIONS = HOME / "options"
