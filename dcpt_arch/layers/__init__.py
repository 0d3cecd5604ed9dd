"""Layers of the networks. A module here imports other layers alone."""
