"""The real settings over an environment of the tests' own: nothing of the machine's, nothing kept."""

import atexit
import os
import shutil
import tempfile

from tests import postgres

_data_dir = tempfile.mkdtemp(prefix="coffer-tests-")
atexit.register(shutil.rmtree, _data_dir, ignore_errors=True)

for name in (
    "STORAGE",
    "STORAGES",
    "USE_S3_STORAGE",
    "DATABASE_URL",
    "TASKS_BACKEND",
    "REDIS_URL",
    "COFFER_PROFILES",
    "USER_QUOTA",
    "DEBUG",
):
    os.environ.pop(name, None)
os.environ |= {
    "DATA_DIR": _data_dir,
    "ENV_FILE": os.devnull,
    "SECRET_KEY": "only-for-tests-0123456789-0123456789-0123456789",
    "GRAPHIQL": "True",
    "INTROSPECTION": "True",
    "QUERIES_BY_GET": "True",
    "LOG_FORMAT": "line",
    "RATE_LIMIT_USER": "0",
    "RATE_LIMIT_ADDRESS": "0",
}
# SQLite unless `make test-postgres` says where a PostgreSQL is; never what the shell has for a deployment.
if _url := os.environ.get(postgres.VARIABLE):
    os.environ["DATABASE_URL"] = _url

from config.settings import *  # noqa: E402, F403

if not _url:
    DATABASES["default"]["TEST"] = {"NAME": ":memory:"}  # noqa: F405  said, because the engine is ours

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # fast, and guards nothing here
