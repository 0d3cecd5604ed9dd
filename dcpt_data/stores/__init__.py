"""Stores of images: folders and LMDBs behind one interface."""
