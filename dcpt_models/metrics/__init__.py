"""Image metrics by name, and average precision."""
