"""What the page keeps of a visitor: photographs and results, in a folder that goes when the tab is closed."""

from __future__ import annotations

import shutil
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dcpt_data.images.photograph_files import ImageFile, read_image_file
from dcpt_models.inference.diagnoser import Diagnosis
from dcpt_tools.photographs.steps import Restoration


@dataclass
class Photograph:
    """One photograph of a session. Pixels are on the disk, so that many and large ones do not fill the memory.

    Attributes:
        source: The file as it was given.
        folder: For what is made of it.
        diagnosis: What it has; None before it was looked at.
        facts: Of its restoration, as a record has them; empty before.
        error: Why it could not be read or restored, or "".
    """

    source: Path
    folder: Path
    diagnosis: Diagnosis | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    error: str = ""

    @property
    def name(self) -> str:
        """The name of the file."""
        return self.source.name

    @property
    def result(self) -> Path:
        """Where the restored file goes, under the photograph's own name."""
        return self.folder / "restored" / self.name

    def original(self) -> ImageFile:
        """The photograph, decoded.

        Raises:
            DataError: As `read_image_file`.
        """
        return read_image_file(self.source)

    def keep(self, made: Restoration) -> None:
        """Keep a restoration at full strength."""
        np.save(self.folder / "full.npy", made.result.pixels)
        self.facts = made.facts()

    def restoration(self) -> Restoration | None:
        """The restoration that was kept; None if there is none."""
        file = self.folder / "full.npy"
        if not (self.facts and file.is_file()):
            return None
        return Restoration.of(self.original(), np.load(file))


class Session:
    """A visitor.

    Attributes:
        folder: For all of the visitor's files.
        photographs: Those that were dropped last, in their order.
        stopped: Whether the visitor has asked to stop what is running.
    """

    def __init__(self, root: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(dir=root, prefix="session-"))
        self.photographs: list[Photograph] = []
        self.stopped = False
        self.uploads: set[Path] = set()
        self._count = 0
        self._tried: Photograph | None = None

    def room(self) -> Path:
        """A new folder."""
        self._count += 1
        folder = self.folder / str(self._count)
        folder.mkdir()
        return folder

    def take(self, upload: Path) -> Photograph:
        """A photograph of the session, from a file that the server received."""
        folder = self.room()
        source = folder / upload.name
        source.hardlink_to(upload)  # both are on one disk, and go together
        self.uploads.add(upload)
        return Photograph(source, folder)

    def try_with(self, upload: Path) -> Photograph:
        """A photograph to degrade, in place of the one before."""
        if self._tried:
            shutil.rmtree(self._tried.folder, ignore_errors=True)
        self._tried = self.take(upload)
        return self._tried

    def drop(self) -> None:
        """Remove the photographs that were dropped, and what was made of them."""
        for photograph in self.photographs:
            shutil.rmtree(photograph.folder, ignore_errors=True)
        self.photographs = []


class Sessions:
    """All visitors, by the name that the server gives each tab."""

    def __init__(self, root: Path) -> None:
        self._root, self._lock = root, threading.Lock()
        self._open: dict[str, Session] = {}

    def of(self, name: str | None) -> Session:
        """The session of a tab; a new one if it has none."""
        with self._lock:
            key = name or ""
            if key not in self._open:
                self._open[key] = Session(self._root)
            return self._open[key]

    def close(self, name: str | None) -> None:
        """Remove a tab's files, and those that the server received from it and from no other tab."""
        with self._lock:
            session = self._open.pop(name or "", None)
            if session is None:
                return
            session.stopped = True
            others = {upload for other in self._open.values() for upload in other.uploads}
            for upload in session.uploads - others:
                shutil.rmtree(upload.parent, ignore_errors=True)  # a folder for each file
            shutil.rmtree(session.folder, ignore_errors=True)
