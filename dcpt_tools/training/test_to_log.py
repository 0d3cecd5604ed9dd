"""Test a model from an option file, as BasicSR does: metrics of every test set in the log, of every image on file.

  python basicsr/test.py -opt options/test_promptir_5d.yml

tools/test.py does the same and prints the table beside the paper's.
"""

import sys
from pathlib import Path

import dcpt_arch  # noqa: F401 - registers networks
from dcpt_data import DataError, build_val_loaders, check_folders
from dcpt_models.evaluation.testing import evaluate, start_test
from dcpt_models.options.command_line import argument_parser, given_options
from dcpt_models.runtime.command import run_command

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    opt = given_options(argument_parser(__doc__).parse_args(), ROOT, is_train=False)
    check_folders(opt["datasets"], opt.get("degradations"))
    start_test(opt)
    evaluate(opt, build_val_loaders(opt["datasets"], opt["rank"], opt["world_size"]))


if __name__ == "__main__":
    sys.exit(run_command(main, DataError))
