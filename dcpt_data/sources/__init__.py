"""Published data sets by name (sources.yml), and how their images pair. It imports `errors`, `workers`, `images`."""
