#!/usr/bin/env python
"""Run Coffer's commands: `manage.py help` lists them, `manage.py run` starts the service."""

import os
import sys

from django.core.management import execute_from_command_line


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
