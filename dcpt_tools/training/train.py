"""Train a model from an option file.

  dcpt train -opt options/dcpt_promptir_5d.yml
  dcpt train dcpt_promptir_5d --auto_resume
  torchrun --nproc_per_node=4 -m dcpt_tools train -opt options/dcpt_promptir_5d.yml --launcher pytorch

Everything of a run lies in experiments/NAME. Ctrl-C saves the state; --auto_resume resumes from it.
"""

import sys

import dcpt_arch  # noqa: F401 - registers networks
import dcpt_compat  # noqa: F401 - fixes basicsr before anything of it is imported
from dcpt_data import DataError, build_train_loader, build_val_loaders, check_folders
from dcpt_models.options.command_line import argument_parser, given_options
from dcpt_models.runtime.command import run_command
from dcpt_models.training.loop import train
from dcpt_models.training.run import Run
from dcpt_tools.places import ROOT, named_first, option_file


def work() -> None:
    arguments = argument_parser(str(__doc__)).parse_args(named_first(sys.argv[1:]))
    arguments.opt = option_file(arguments.opt)
    opt = given_options(arguments, ROOT, is_train=True)
    check_folders(opt["datasets"], opt.get("degradations"))
    with Run(opt) as run:
        train_loader = build_train_loader(opt["datasets"]["train"], run.rank, run.world_size, run.start, run.samples)
        train(run, train_loader, build_val_loaders(opt["datasets"], run.rank, run.world_size))


def main() -> int:
    return run_command(work, DataError)
