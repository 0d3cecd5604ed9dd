"""Option files: read, composed, checked against what the code declares, completed, written."""
