"""The command line: ``python -m companion.recipes --help``."""

import sys

from companion.recipes.launch import main

sys.exit(main())
