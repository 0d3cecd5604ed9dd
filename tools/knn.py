"""`dcpt knn` as a script of the repository; see dcpt_tools/studying/knn.py."""

from dcpt_tools.commands import launch

if __name__ == "__main__":
    launch("studying.knn", "tools/knn.py")
