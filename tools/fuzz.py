"""Try many generated inputs, of one family or of all, and tell each kind of fault once; see tests/fuzz.

  python tools/fuzz.py --family images --inputs 20000 --seed 1
  python tools/fuzz.py --family images --seed 1 --block 37

Needs the extra `test`. Inputs come in blocks of 100, each in a process of its own, so that one which crashes is told
too. The same command goes on where an interrupted one stopped; --again begins anew. With --block, one block is tried
again, and each fault in it is printed whole. Exit code 1 if there was a fault.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the packages of this checkout
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "fuzz"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "helpers"))

if __name__ == "__main__":
    from runner import main

    sys.exit(main(__doc__))
