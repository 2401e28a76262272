"""The tests of this folder need servers, which `make test-storage` installs."""

import os

collect_ignore_glob = [] if os.environ.get("STORAGE_SERVERS") else ["test_*.py"]
