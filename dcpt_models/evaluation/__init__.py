"""Validation and testing: values of every image, their means, tables beside published ones."""
