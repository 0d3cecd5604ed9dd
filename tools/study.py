"""`dcpt study` as a script of the repository; see dcpt_tools/studying/study.py."""

from dcpt_tools.commands import launch

if __name__ == "__main__":
    launch("studying.study", "tools/study.py")
