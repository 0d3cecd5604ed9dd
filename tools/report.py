"""`dcpt report` as a script of the repository; see dcpt_tools/studying/report.py."""

from dcpt_tools.commands import launch

if __name__ == "__main__":
    launch("studying.report", "tools/report.py")
