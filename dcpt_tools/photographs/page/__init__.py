"""The page of `dcpt app`: sessions and limits < what is computed < how it is laid out and served."""
