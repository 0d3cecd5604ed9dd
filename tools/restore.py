"""`dcpt restore` as a script of the repository; see dcpt_tools/photographs/restore.py."""

from dcpt_tools.commands import launch

if __name__ == "__main__":
    launch("photographs.restore", "tools/restore.py")
