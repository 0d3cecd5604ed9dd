"""Photographs of any size: restored in tiles, diagnosed, by the packaged weights or any checkpoint."""
