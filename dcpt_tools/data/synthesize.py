"""Turn a folder of clean photographs into paired data, in the folders that the option files expect.

  dcpt synthesize --gt photographs --setting 5d --out datasets

Photographs are split into training and test ones by seed. Each training set (or test set) of the setting is made from
all training (or test) photographs, so it is a stand-in that has the published data set's layout, not its content.
"""

import argparse
import time
from pathlib import Path

from dcpt_common import to_json
from dcpt_common.arguments import whole
from dcpt_common.progress import ProgressBar
from dcpt_data import DataError
from dcpt_data.preparation.stand_ins import plan, synthesise
from dcpt_data.sources.published import known_settings
from dcpt_models.runtime.command import run_command


def parser() -> argparse.ArgumentParser:
    result = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("--gt", type=Path, required=True, metavar="FOLDER", help="clean photographs, nested or not")
    result.add_argument("--setting", choices=list(known_settings()), default="5d", help="which data sets (default: 5d)")
    result.add_argument("--out", type=Path, default=Path("datasets"), help="root of the data sets (default: datasets)")
    result.add_argument("--seed", type=whole(0), default=0, help="of the split and the degradations (default: 0)")
    result.add_argument("--test-share", type=float, default=0.1, help="share kept for the test sets (default: 0.1)")
    result.add_argument("--test-gt", type=Path, metavar="FOLDER", help="photographs of the test sets")
    result.add_argument("--json", action="store_true", help="print one JSON object on standard output, nothing else")
    return result


def work() -> None:
    arguments = parser().parse_args()
    begun = time.time()
    plans = plan(arguments.gt, arguments.setting, arguments.seed, arguments.test_share, arguments.test_gt)
    with ProgressBar(total=sum(len(p.photographs) for p in plans), unit="image") as bar:
        kept = synthesise(plans, arguments.out, arguments.seed, bar.report)
    made = {
        source.name: {
            "degradation": source.degradation,
            "folder": str(arguments.out / source.folder),
            "images": len(p.photographs),
            "kept": source.name in kept,
        }
        for p in plans
        for source in p.sources
    }
    if arguments.json:
        print(to_json({"sets": made, "seconds": round(time.time() - begun, 1)}))
        return
    width = max(map(len, made))
    for name, entry in made.items():
        note = " (was there already)" if entry["kept"] else ""
        print(f"{name:{width}} {entry['degradation']:15} {entry['images']:5} images  {entry['folder']}{note}")


def main() -> int:
    return run_command(work, DataError)
