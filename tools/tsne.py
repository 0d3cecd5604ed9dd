"""`dcpt tsne` as a script of the repository; see dcpt_tools/studying/tsne.py."""

from dcpt_tools.commands import launch

if __name__ == "__main__":
    launch("studying.tsne", "tools/tsne.py")
