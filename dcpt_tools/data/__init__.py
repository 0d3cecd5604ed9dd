"""Commands for data sets: prepare, synthesize, lmdb."""
