"""`dcpt lmdb` as a script of the repository; see dcpt_tools/data/lmdb.py."""

from dcpt_tools.commands import launch

if __name__ == "__main__":
    launch("data.lmdb", "tools/prepare_lmdb.py")
