"""Names of degradation classes, and how they are joined; used by data, methods and evaluation."""

CLEAN = "clean"
"""The class of photographs that have no degradation."""
JOIN = "+"
"""Separates the names of the degradations of one image: `haze+rain`."""
