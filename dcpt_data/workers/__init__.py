"""Work in other processes. It imports `errors` alone."""
