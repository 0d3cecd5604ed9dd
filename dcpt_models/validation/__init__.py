"""Measuring a model on validation sets: what methods and evaluation share."""
