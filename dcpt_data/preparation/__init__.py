"""What is done before training: archives into folders, stand-ins, LMDBs, checks. Only commands import it."""
