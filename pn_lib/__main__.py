"""``python -m pn_lib``: see ``pn_lib.workflow.cli``."""

import sys

from pn_lib.workflow.cli import main

sys.exit(main())
