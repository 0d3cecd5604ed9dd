"""Errors that several packages raise."""

from __future__ import annotations


class MissingEngineError(ImportError):
    """BasicSR is not installed; the message says how it is."""
