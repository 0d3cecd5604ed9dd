"""`dcpt pack` as a script of the repository; see dcpt_tools/networks/pack.py."""

from dcpt_tools.commands import launch

if __name__ == "__main__":
    launch("networks.pack", "tools/pack.py")
