"""How well features separate degradations: nearest neighbours, linear probes, t-SNE."""
