"""`dcpt prepare` as a script of the repository; see dcpt_tools/data/prepare.py."""

from dcpt_tools.commands import launch

if __name__ == "__main__":
    launch("data.prepare", "tools/prepare_data.py")
