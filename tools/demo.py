"""`dcpt demo` as a script of the repository; see dcpt_tools/training/demo.py."""

from dcpt_tools.commands import launch

if __name__ == "__main__":
    launch("training.demo", "tools/demo.py")
