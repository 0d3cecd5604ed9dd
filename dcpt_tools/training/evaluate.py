"""Test a model from an option file, as BasicSR does: metrics of every test set in the log, of every image on file.

  python basicsr/test.py -opt options/test_promptir_5d.yml

`dcpt test` does the same and prints the table beside the paper's.
"""

import dcpt_arch  # noqa: F401 - registers networks
from dcpt_data import DataError, build_val_loaders, check_folders
from dcpt_models.evaluation.testing import evaluate, start_test
from dcpt_models.options.command_line import argument_parser, given_options
from dcpt_models.runtime.command import run_command
from dcpt_tools.places import ROOT, option_file


def work() -> None:
    arguments = argument_parser(str(__doc__)).parse_args()
    arguments.opt = option_file(arguments.opt)
    opt = given_options(arguments, ROOT, is_train=False)
    check_folders(opt["datasets"], opt.get("degradations"))
    start_test(opt)
    evaluate(opt, build_val_loaders(opt["datasets"], opt["rank"], opt["world_size"]))


def main() -> int:
    return run_command(work, DataError)
