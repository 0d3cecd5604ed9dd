"""`dcpt mm-train` as a script of the repository; see dcpt_tools/training/mm_train.py."""

from dcpt_tools.commands import launch

if __name__ == "__main__":
    launch("training.mm_train", "tools/mm_train.py")
