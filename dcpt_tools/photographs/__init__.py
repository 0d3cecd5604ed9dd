"""Commands for photographs: restore, diagnose, degrade."""
