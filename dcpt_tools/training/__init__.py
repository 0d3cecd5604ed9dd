"""Commands that train and test from option files, and the demo, which does both."""
