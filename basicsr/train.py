"""`dcpt train` as a script of the repository; see dcpt_tools/training/train.py."""

from dcpt_tools.commands import launch

if __name__ == "__main__":
    launch("training.train", "basicsr/train.py")
