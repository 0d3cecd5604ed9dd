"""Where images lie: folders and LMDBs, which a reader cannot tell apart."""
