"""The frame of every command: arguments that all share, error messages, and exit codes."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dcpt_arch.checkpoints.loading import CheckpointError
from dcpt_common import import_extension
from dcpt_models.errors import MetricError, OptionError, RunError, Stopped
from dcpt_models.runtime.allocator import keep_freed_memory
from dcpt_models.runtime.distributed import stop_processes

DONE, FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130


class _Import(argparse.Action):
    """Imports each of its values at once, so that all later arguments may name what they register."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        for name in values:
            try:
                import_extension(name)
            except ImportError as error:
                parser.error(f"--import {name}: {error}")


def add_import(parser: argparse.ArgumentParser) -> None:
    """Add `--import`, by which a user's own networks, methods, losses, metrics, degradations and sources are known."""
    parser.add_argument(
        "--import",
        nargs="+",
        action=_Import,
        dest="extensions",
        metavar="FILE.py",
        help="import your own code first, files or modules: what it registers can be named (docs/EXTENDING.md)",
    )


def refuse_file(folder: Path, option: str) -> None:
    """Refuse an option that must name a folder and names a file, or a place below one, before anything is done.

    Raises:
        OptionError: Saying so.
    """
    for place in (folder, *folder.parents):
        if place.exists():
            if not place.is_dir():
                raise OptionError(f"{option} {folder}: {place} is a file; name a folder, which need not exist")
            return


def run_command(main: Callable[[], None], *failures: type[Exception]) -> int:
    """Run a command; errors that a user can fix end it with their message, all others with a traceback.

    Args:
        main: The command.
        failures: Further errors that a user can fix.

    Returns:
        The exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
    """
    keep_freed_memory()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files may hold what the terminal's encoding has not
            stream.reconfigure(errors="backslashreplace")
    try:
        main()
    except BrokenPipeError:
        raise  # who reads the output has gone: no fault to report
    except OptionError as error:
        return _end(error, WRONG_USAGE)
    except (CheckpointError, FloatingPointError, MetricError, OSError, RunError) as error:
        return _end(error, FAILED)
    except failures as error:
        return _end(error, FAILED)
    except Stopped as stop:
        print(f"{stop}. To resume, give the same command with --auto_resume", file=sys.stderr)
        return INTERRUPTED
    except KeyboardInterrupt:
        print("Interrupted", file=sys.stderr)
        return INTERRUPTED
    finally:
        stop_processes()
    return DONE


def _end(error: Exception, code: int) -> int:
    message = str(error)
    if "Original Traceback" in message:  # raised in a worker of a data loader, which puts its traceback before it
        message = message.strip().splitlines()[-1].partition(": ")[2]
    print(f"error: {message}", file=sys.stderr)
    return code
