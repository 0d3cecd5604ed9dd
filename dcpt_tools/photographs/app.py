"""Serve a page on this machine: drop photographs, see what is wrong with them, restore and download them.

  dcpt app
  dcpt app --weights experiments/finetune_promptir_5d/models/net_g_latest.pth --port 8000
  dcpt app --max-megapixels 300 --no-browser

Needs Gradio: pip install "dcpt[app]". The page answers to this machine alone (127.0.0.1), sends nothing elsewhere and
works without a network. What is downloaded is the file that `dcpt restore` would write. A tab's files are removed when
it is closed, all others when the server ends (Ctrl-C, or SIGTERM).
"""

import argparse
import os
import signal
import socket
import sys
import tempfile
import threading
from pathlib import Path

from dcpt_arch.checkpoints.loading import CheckpointError
from dcpt_common.arguments import whole
from dcpt_models.errors import OptionError
from dcpt_models.inference.restorer import RestoreError
from dcpt_models.runtime.command import add_import, run_command
from dcpt_models.runtime.logs import start_logger
from dcpt_tools.photographs.page.engine import Engine
from dcpt_tools.photographs.page.limits import Limits
from dcpt_tools.photographs.page.server import LOCAL, OnlyHere, silence
from dcpt_tools.photographs.page.sessions import Sessions
from dcpt_tools.photographs.restore import add_running

CHECKPOINT = 2_000_000_000  # bytes of the largest checkpoint that can be opened on the page


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_import(parser)
    parser.add_argument(
        "--weights", nargs="+", default=[], type=Path, metavar="FILE", help="checkpoints to choose from"
    )
    parser.add_argument("--port", type=whole(0), help="default: the first that is free from 7860 on")
    parser.add_argument("--no-browser", action="store_true", help="print the address, and open no browser")
    parser.add_argument("--max-megabytes", type=whole(1), default=200, help="largest photograph's file (default: 200)")
    parser.add_argument("--max-megapixels", type=whole(1), default=100, help="largest photograph (default: 100)")
    add_running(parser)
    return parser.parse_args()


def work() -> None:
    arguments = parse()
    start_logger(None)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # so that files are removed in any case
        signal.signal(number, _end)
    with tempfile.TemporaryDirectory(prefix="dcpt-app-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        silence()
        serve(arguments, Path(folder))


def _end(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def serve(arguments: argparse.Namespace, folder: Path) -> None:
    """Serve until Ctrl-C; files of visitors are below a folder.

    Raises:
        OptionError: If Gradio is missing, or the port is taken.
        CheckpointError, RestoreError: If a checkpoint cannot be opened.
    """
    if arguments.port:
        refuse_port(arguments.port)
    try:
        import gradio as gr
        from starlette.middleware import Middleware

        from dcpt_tools.photographs.page.layout import Page
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("gradio", "starlette"):
            raise
        raise OptionError(f'the page needs Gradio ({error}): pip install "dcpt[app]"') from error
    engine = Engine(arguments)
    public = "SPACE_ID" in os.environ  # a Hugging Face Space, whose visitors bring no checkpoints
    limits = Limits(arguments.max_megabytes, arguments.max_megapixels)
    page = Page(engine, Sessions(folder), limits, opens=not public)
    blocks = page.build()
    system = ["system-ui", "sans-serif"]
    monospace = ["ui-monospace", "monospace"]
    try:
        _, address, _ = blocks.launch(
            server_name="0.0.0.0" if public else LOCAL[0],
            server_port=arguments.port,
            app_kwargs={} if public else {"middleware": [Middleware(OnlyHere)]},
            max_file_size=max(arguments.max_megabytes * 1_000_000, 0 if public else CHECKPOINT),
            theme=gr.themes.Default(font=system, font_mono=monospace),
            inbrowser=not (arguments.no_browser or public),
            share=False,
            footer_links=[],
            run_history=False,
            enable_monitoring=False,
            ssr_mode=False,
            prevent_thread_lock=True,
            quiet=True,
        )
    except OSError as error:
        free = "give another, or none" if arguments.port else "give one that is free"
        raise OptionError(f"--port {arguments.port or ''}: {error}; {free}") from error
    print(f"Serving on {address} (Ctrl-C ends it)", file=sys.stderr, flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:  # as it is meant to end
        print("Ended; what visitors had here is removed", file=sys.stderr)
    finally:
        blocks.close(verbose=False)


def refuse_port(port: int) -> None:
    """Refuse a port that another program has.

    Raises:
        OptionError: Saying so.
    """
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((LOCAL[0], port))
        except (OSError, OverflowError) as error:
            raise OptionError(f"--port {port}: {error}; give another, or none") from error


def main() -> int:
    return run_command(work, CheckpointError, RestoreError)
