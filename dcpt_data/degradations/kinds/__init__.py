"""The degradations: one file each, registered when this folder is scanned."""
