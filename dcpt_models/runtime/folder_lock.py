"""A lock on a run's folder, so that two runs never write into one."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
from pathlib import Path

from dcpt_models.errors import OptionError

NAME = ".lock"


class FolderLock:
    """Held by the run that writes into a folder, until it closes it or ends in whatever way.

    It is a POSIX record lock: the kernel releases it when this process is gone, even by SIGKILL, and workers forked
    from it never hold it. (They would hold on to a lock of flock, for as long as they outlive the process.) On a file
    system that has no locks the run goes on with a warning.

    Args:
        folder: The folder; it is there.

    Raises:
        OptionError: If another process holds the lock.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._file = (folder / NAME).open("a+", encoding="utf-8")
        except FileNotFoundError as error:
            raise OptionError(f"{folder} is in use: another run has just moved it away; start one at a time") from error
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                logging.getLogger("basicsr").warning(
                    f"{folder} cannot be locked ({error.strerror}); start no second run"
                )
                return
            self._file.seek(0)
            holder = self._file.read().strip() or "another process"
            self._file.close()
            raise OptionError(
                f"{folder} is in use: {holder} is writing a run into it. Wait for it or stop it, or choose another "
                "name (--force_yml name=NAME)"
            ) from error
        if not self._is_of(folder):  # another run has moved the folder away between the two lines above
            self._file.close()
            self.__init__(folder)  # type: ignore[misc]
            return
        self._file.truncate(0)
        self._file.write(f"process {os.getpid()} on {socket.gethostname()}")
        self._file.flush()

    def _is_of(self, folder: Path) -> bool:
        there = folder / NAME
        return there.exists() and there.stat().st_ino == os.fstat(self._file.fileno()).st_ino

    def close(self) -> None:
        """Release the lock."""
        self._file.close()
