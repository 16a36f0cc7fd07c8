"""`python -m symeq_core`."""

import os
import sys

# OpenMP reads this when torch is loaded: threads that spin while they wait stop other runs on the same cores.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
