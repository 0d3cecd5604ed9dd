"""`dcpt app` as a script of the repository, and the app_file of a Hugging Face Space (docs/RESTORING.md)."""

from dcpt_tools.commands import launch

if __name__ == "__main__":
    launch("photographs.app", "tools/app.py")
