"""`dcpt diagnose` as a script of the repository; see dcpt_tools/photographs/diagnose.py."""

from dcpt_tools.commands import launch

if __name__ == "__main__":
    launch("photographs.diagnose", "tools/diagnose.py")
