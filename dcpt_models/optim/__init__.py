"""Optimisers, learning rates, updates, and the moving average of the weights."""
