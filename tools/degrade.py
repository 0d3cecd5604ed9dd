"""`dcpt degrade` as a script of the repository; see dcpt_tools/photographs/degrade.py."""

from dcpt_tools.commands import launch

if __name__ == "__main__":
    launch("photographs.degrade", "tools/degrade.py")
