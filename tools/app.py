"""`dcpt app` as a script of the repository, and the app_file of a Hugging Face Space (docs/RESTORING.md)."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))  # a Space has the checkout and does not install it

from dcpt_tools.commands import launch

if __name__ == "__main__":
    launch("photographs.app", "tools/app.py")
