"""The text log and the curves of a run."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import basicsr.utils.logger as engine_logger

from dcpt_models.errors import OptionError
from dcpt_models.runtime.scalars import Scalars

LOGGER = "basicsr"


def start_logger(file: Path | None, rank: int = 0) -> logging.Logger:
    """Send the engine's log and ours to standard error and, on the first process, to a file.

    The engine's own set-up is passed over: it does nothing once anything has asked for the logger at import.

    Args:
        file: The log file, appended to; None for none.
        rank: This process; all but the first log errors only.
    """
    logger = logging.getLogger(LOGGER)
    for handler in logger.handlers[:]:
        logger.removeHandler(handler)
        handler.close()
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    if file is not None and rank == 0:
        handlers.append(logging.FileHandler(file, encoding="utf-8", errors="backslashreplace"))
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s: %(message)s"))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO if rank == 0 else logging.ERROR)
    logger.propagate = False
    engine_logger.initialized_logger[LOGGER] = True
    return logger


def start_scalars(opt: dict[str, Any], start: int) -> Scalars | None:
    """What takes the curves of a run: metrics.csv, TensorBoard and Weights & Biases; None but on the first process.

    Args:
        opt: Completed options.
        start: Iterations already done; TensorBoard drops what an interrupted run has written beyond them.

    Raises:
        OptionError: If wandb is asked for without TensorBoard, or is not installed.
    """
    if opt["rank"] != 0:
        return None
    folder, logger_opt = Path(opt["path"]["experiments_root"]), opt["logger"]
    wandb_opt = logger_opt.get("wandb") or {}
    if wandb_opt.get("project"):
        if not logger_opt.get("use_tb_logger"):
            raise OptionError("logger:wandb mirrors TensorBoard; set logger:use_tb_logger to true")
        try:
            import wandb
        except ImportError as error:
            raise OptionError('logger:wandb needs wandb: pip install -e ".[wandb]"') from error
        wandb.init(
            project=wandb_opt["project"],
            id=wandb_opt.get("resume_id"),
            resume="allow",
            name=opt["name"],
            config=opt,
            sync_tensorboard=True,
        )
    writer = None
    if logger_opt.get("use_tb_logger"):
        from torch.utils.tensorboard import SummaryWriter

        writer = SummaryWriter(log_dir=str(folder / "tb_logger"), purge_step=start + 1)
    return Scalars(folder / "metrics.csv", writer)
