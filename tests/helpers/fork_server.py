"""Runs the commands of this project in processes of their own, without importing everything anew for each.

Reads one JSON object a line, {"script", "arguments", "cwd", "output", ...} (see `Commands` in commands.py), and answers
with the process id of a copy of itself in which the script runs as a user would start it, or, to {"wait": pid}, with
its exit status. What runs is a real process: it can be killed, limited, and starved.
"""

from __future__ import annotations

import atexit
import json
import os
import resource
import runpy
import signal
import sys
import time
import traceback
from typing import Any

import torch

import dcpt_arch  # noqa: F401 - imported here once, and not by every script anew
import dcpt_data  # noqa: F401
import dcpt_models  # noqa: F401


def run(request: dict[str, Any]) -> int:
    """Run the script in this process; returns its exit status."""
    os.setsid()
    os.chdir(request["cwd"])
    os.environ.update(request["environment"])
    out, err = (
        os.open(f"{request['output']}.{name}", os.O_CREAT | os.O_WRONLY | os.O_TRUNC) for name in ("out", "err")
    )
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    sys.stdout, sys.stderr = open(1, "w", buffering=1), open(2, "w", buffering=1)  # noqa: SIM115
    if request["file_limit"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_limit"],) * 2)
    if request["die_at"]:
        die_while_saving(request["die_at"])
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a program in the background is born without
    sys.argv = [request["script"], *request["arguments"]]
    sys.path[0] = os.path.dirname(request["script"])  # noqa: PTH120
    try:
        runpy.run_path(request["script"], run_name="__main__")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def die_while_saving(moment: int) -> None:
    """Die by SIGKILL at one of the moments of saving: before, within and after each file, and before each removal."""
    seen = 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        name = str(arguments[0]) if arguments else ""
        writing = event == "open" and name.endswith(".partial") and "w" in str(arguments[1])
        written = event == "os.rename" and name.endswith(".partial")
        removing = event == "os.remove" and name.endswith((".pth", ".state"))
        if not (writing or written or removing):
            return
        seen += 1
        if seen == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        seen += writing
        if writing and seen == moment:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)  # nothing of the process runs once it comes
            signal.setitimer(signal.ITIMER_REAL, 2e-4)

    sys.addaudithook(watch)


def wait(pid: int, seconds: float) -> int | None:
    """The exit status of a copy (minus the signal that ended it); None if it still runs after so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    return None


def main() -> None:
    torch.set_num_threads(1)
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = wait(request["wait"], request["seconds"])
        else:
            sys.stdout.flush()
            answer = os.fork()
            if not answer:
                status = run(request)
                atexit._run_exitfuncs()
                os._exit(status)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
