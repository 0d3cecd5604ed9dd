"""Tests a model as BasicSR does, a script of the repository; see dcpt_tools/training/evaluate.py."""

from dcpt_tools.commands import launch

if __name__ == "__main__":
    launch("training.evaluate", "basicsr/test.py")
