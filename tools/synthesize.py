"""`dcpt synthesize` as a script of the repository; see dcpt_tools/data/synthesize.py."""

from dcpt_tools.commands import launch

if __name__ == "__main__":
    launch("data.synthesize", "tools/synthesize.py")
