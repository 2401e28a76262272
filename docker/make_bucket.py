"""Make the bucket of the default storage, in a store of one's own. Never touches one that is there.

By the settings that the service itself has, so the two cannot disagree.
"""

import os
import sys
from pathlib import Path
from typing import Any

import django
from botocore.exceptions import ClientError
from django.core.files.storage import storages


def make(storage: Any) -> bool:
    """Whether the bucket had to be made. Raises ClientError if it can be neither found nor made."""
    bucket = storage.bucket
    try:
        bucket.meta.client.head_bucket(Bucket=bucket.name)
    except ClientError as error:
        if error.response["Error"]["Code"] not in {"404", "NoSuchBucket"}:
            raise
        bucket.create()
        return True
    return False


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    default = storages["default"]
    if hasattr(default, "bucket_name"):  # else files are on local disk
        sys.stdout.write("Made the bucket.\n" if make(default) else "The bucket is there.\n")
