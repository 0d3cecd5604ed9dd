"""`dcpt test` as a script of the repository; see dcpt_tools/training/test.py."""

from dcpt_tools.commands import launch

if __name__ == "__main__":
    launch("training.test", "tools/test.py")
