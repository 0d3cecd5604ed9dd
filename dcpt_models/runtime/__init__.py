"""Processes, signals, files, logs, memory and devices. It imports `errors` alone."""
