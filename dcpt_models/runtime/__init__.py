"""What a run needs of the machine: processes, signals, files, logs, memory, devices. It imports `errors` alone."""
