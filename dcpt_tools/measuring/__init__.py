"""What `dcpt check-device` and `tools/benchmark.py` measure with: time, floors, memory, the published forms."""
