"""Test a model from an option file and print its table, beside the paper's figures where the file names them.

  python tools/test.py -opt options/test_promptir_5d.yml

Writes results/NAME/table.md and results/NAME/results.json.
"""

import json
import sys
from pathlib import Path

import dcpt_arch  # noqa: F401 - registers networks
from dcpt_data import DataError, build_val_loaders, check_folders
from dcpt_data.synthesis import stand_ins
from dcpt_models.command import run_command
from dcpt_models.evaluation import evaluate, protocol, start_test
from dcpt_models.settings import argument_parser, load_options
from dcpt_models.tables import published_row, results_table

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output, nothing else")
    arguments = parser.parse_args()
    opt = load_options(arguments, ROOT, is_train=False)
    paper = published_row(opt["table"]["published"], opt["table"]["row"]) if opt.get("table") else None
    check_folders(opt["datasets"], opt.get("degradations"))
    folder = start_test(opt)
    loaders = build_val_loaders(opt["datasets"], opt["rank"], opt["world_size"])
    results = evaluate(opt, loaders)
    if opt["rank"] != 0:
        return

    made = stand_ins(opt["datasets"])
    conditions = protocol(opt)
    lines = [f"# {opt['name']}", "", results_table(results, paper), "", "PSNR in dB / SSIM."]
    if paper:
        lines.append(f"In parentheses: {paper.row}, {paper.source}.")
    if made:
        lines.append(f"**Not comparable with any paper**: {', '.join(made)} are stand-ins made by tools/synthesize.py.")
    lines += ["", *(f"* {key}: {value}" for key, value in conditions.items())]
    record = {
        "name": opt["name"],
        "results": results,
        "paper": {"row": paper.row, "source": paper.source, "values": paper.values} if paper else None,
        "stand_ins": made,
        "protocol": conditions,
        "table": str(folder / "table.md"),
    }
    (folder / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "results.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    print(json.dumps(record) if arguments.json else "\n".join(lines))


if __name__ == "__main__":
    sys.exit(run_command(main, DataError))
