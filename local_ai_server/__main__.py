"""``python -m local_ai_server``."""

import sys

from local_ai_server.app import main

if __name__ == "__main__":
    sys.exit(main())
