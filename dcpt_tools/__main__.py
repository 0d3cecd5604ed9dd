"""`python -m dcpt_tools` is `dcpt`; torchrun starts it so: `torchrun --nproc_per_node=4 -m dcpt_tools train ...`."""

import sys

from dcpt_tools.commands import main

if __name__ == "__main__":
    sys.exit(main())
