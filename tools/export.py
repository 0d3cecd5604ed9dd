"""`dcpt export` as a script of the repository; see dcpt_tools/networks/export.py."""

from dcpt_tools.commands import launch

if __name__ == "__main__":
    launch("networks.export", "tools/export.py")
