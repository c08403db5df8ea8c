"""``python -m pn_lib``: see ``pn_lib.cli``."""

import sys

from pn_lib.cli import main

sys.exit(main())
