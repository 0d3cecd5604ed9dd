"""What features tell of degradations: nearest neighbours, linear probes, t-SNE."""
