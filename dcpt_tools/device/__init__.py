"""`dcpt check-device`: whether a device is set up right, how fast it is, and what the paper's recipes cost on it."""
