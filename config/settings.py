"""Plain Django settings, built from `config.env`. What an operator may change is read there, not here."""

from typing import Any
from urllib.parse import urlsplit

import django_stubs_ext
from django.utils.csp import CSP

from config import env as environment
from config import geography, logs, queues
from files import profiles

django_stubs_ext.monkeypatch()  # lets ModelAdmin[File] and its like be written without quotes
geography.leave_out()

ENV = environment.read_or_exit()
DATA_DIR = ENV.data_dir

BASE_DIR = environment.ROOT
DEBUG = ENV.debug
SECRET_KEY = ENV.secret_key
MEDIA_ORIGIN = ENV.media_origin
MEDIA_SOURCES = [MEDIA_ORIGIN] if MEDIA_ORIGIN else []
ALLOWED_HOSTS = [*ENV.allowed_hosts, *(str(urlsplit(origin).hostname) for origin in MEDIA_SOURCES)]
CSRF_TRUSTED_ORIGINS = list(ENV.csrf_trusted_origins)
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
ASGI_APPLICATION = "config.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"

INSTALLED_APPS = [
    "audit",
    "accounts",
    "files",
    "graph",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "strawberry_django",
    *queues.apps(ENV.tasks_backend),
]

MIDDLEWARE = [
    "graph.middleware.observed",  # the first: it answers probes, and measures all the others
    "graph.proxies.trusted_proxies",
    "django.middleware.security.SecurityMiddleware",
    "graph.media.media_origin",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "graph.origin.origin",  # beside the other one that is not async: each change of kind costs a thread
    "django.middleware.csp.ContentSecurityPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# --- who -------------------------------------------------------------------------------------------

AUTH_USER_MODEL = "accounts.User"
LOGIN_URL = "login"  # the admin has one of its own, for staff
LOGIN_REDIRECT_URL = LOGOUT_REDIRECT_URL = "library"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]

# --- rows ------------------------------------------------------------------------------------------


_SQLITE_CACHE = 256_000  # KiB, of all threads of a process
# Of one process to PostgreSQL. Most threads wait for clients, and then hold none (`files.pooling`).
_CONNECTIONS = 16


def _database() -> dict[str, Any]:
    """The database with the options without which it would not serve many threads well."""
    config = dict(ENV.database)
    options = dict(config.get("OPTIONS", {}))
    if config["ENGINE"] == "django.db.backends.sqlite3":
        config["ENGINE"] = "database.sqlite"
        # Writers queue from their first statement on instead of failing in the middle, readers go on
        # meanwhile (WAL), and a commit that was answered survives a loss of power (synchronous=FULL).
        options.setdefault("transaction_mode", "IMMEDIATE")
        options.setdefault("timeout", 5)
        # Each connection has a cache of its own, and there may be as many as threads.
        cache = min(16_000, _SQLITE_CACHE // ENV.threads)
        options.setdefault(
            "init_command", f"PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-{cache};"
        )
    else:
        # A query that hangs or a server that is gone has to become an answer, not a stuck thread.
        pool = {
            "min_size": 1,
            "max_size": min(ENV.threads, _CONNECTIONS),
            "timeout": 5,
            # By itself the pool asks a server that is gone in ever longer intervals, up to minutes. Once it
            # has given up it asks again for the next request.
            "reconnect_timeout": 3,
        }
        options.setdefault("pool", pool)
        options.setdefault("connect_timeout", 3)
        # Or each connection of the pool would cost one request its answer after the server was restarted.
        config["CONN_HEALTH_CHECKS"] = True
    return config | {"OPTIONS": options}


DATABASES = {"default": _database()}

CACHES = {"default": queues.cache(ENV.redis_url)}

# --- background work -------------------------------------------------------------------------------

TASKS_BACKEND = ENV.tasks_backend
TASKS = queues.tasks(ENV.tasks_backend)
RQ_QUEUES = queues.rq_queues(ENV.redis_url)
RQ_SHOW_ADMIN_LINK = False  # its pages let staff delete what is queued; `rq info` shows it

# --- bytes -----------------------------------------------------------------------------------------


# `default` keeps files, further ones those that the operator wants elsewhere, `staticfiles` the pages' own.
STORAGES = ENV.storages
SENDFILE = ENV.sendfile

# Bytes that have to be looked at as a whole wait here until they are. On local disk it has to be the file
# system of the files themselves, so that keeping them is a link and not a second copy.
STAGING_DIR = ENV.data_dir / "incoming"

STATIC_URL = "static/"
STATIC_ROOT = ENV.data_dir / "static"
STATIC_ROOT.mkdir(exist_ok=True)  # WhiteNoise looks into it at start
WHITENOISE_USE_FINDERS = True  # no collectstatic before the first start
_static_domain = STORAGES["staticfiles"].get("OPTIONS", {}).get("custom_domain")
STATIC_SOURCES = [f"https://{_static_domain.partition('/')[0]}"] if _static_domain else []
WHITENOISE_AUTOREFRESH = DEBUG

# --- Coffer ----------------------------------------------------------------------------------------

UPLOAD_PROFILES = profiles.load_or_exit(
    ENV.profiles_path, storages=[alias for alias in STORAGES if alias != "staticfiles"]
)
USER_QUOTA = ENV.user_quota
URL_LIFETIME = ENV.url_lifetime
MAX_REQUEST_SIZE = ENV.max_request_size
MAX_FILES = ENV.max_files
DATA_UPLOAD_MAX_NUMBER_FILES = MAX_FILES
GRAPHIQL = ENV.graphiql
INTROSPECTION = ENV.introspection
QUERIES_BY_GET = ENV.queries_by_get
FAILPOINT = ENV.failpoint
MAX_BATCH = ENV.max_batch
RATE_LIMIT_USER = ENV.rate_limit_user
RATE_LIMIT_ADDRESS = ENV.rate_limit_address

CSRF_FAILURE_VIEW = "graph.problems.csrf_failure"

# Files come to the GraphQL endpoint alone, which brings its own handler; no form elsewhere takes any.
FILE_UPLOAD_HANDLERS = ["files.receive.RefusingHandler"]
# Bodies of GraphQL requests: read whole where they are JSON, and `operations` and `map` of multipart.
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024

# --- pages -----------------------------------------------------------------------------------------

# Clients reach the service by https, which a proxy ends. Cookies then have names that no other host and no
# page without TLS can set: they begin with __Host-.
HTTPS = ENV.https is True
TRUSTED_PROXIES = ENV.trusted_proxies
PROXY_HEADERS = ENV.proxy_headers
SECURE_PROXY_SSL_HEADER = ("coffer.scheme", "https")  # graph.proxies says what is believed
SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^health/", r"^metrics$"]  # asked from near by, past the proxy
SECURE_HSTS_SECONDS = ENV.hsts_seconds if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = ENV.hsts_subdomains
SECURE_HSTS_PRELOAD = ENV.hsts_preload
# Both speak for all names below ours, and the list of browsers for years: hstspreload.org asks not to have it
# on by default. The operator decides.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
if HTTPS:
    SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "__Host-sessionid", "__Host-csrftoken"

SECURE_CSP = {
    "default-src": [CSP.SELF, *STATIC_SOURCES],
    "img-src": [CSP.SELF, *STATIC_SOURCES, *MEDIA_SOURCES, "data:", "blob:"],
    "connect-src": [CSP.SELF, *MEDIA_SOURCES],
    "media-src": [CSP.SELF, *MEDIA_SOURCES],
    "style-src": [CSP.SELF, *STATIC_SOURCES, CSP.UNSAFE_INLINE],
    "object-src": [CSP.NONE],
    "base-uri": [CSP.NONE],
    "frame-ancestors": [CSP.NONE],
    "form-action": [CSP.SELF],
}
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_SAMESITE = "Lax"
# The admin shows a new API token in a message: in the browser's own cookie it is never stored by us.
MESSAGE_STORAGE = (
    "config.cookies.HostCookieStorage" if HTTPS else "django.contrib.messages.storage.cookie.CookieStorage"
)
CSRF_COOKIE_SAMESITE = "Lax"

# --- logs, figures, traces -------------------------------------------------------------------------

LOGGING = logs.settings(level=ENV.log_level, format_=ENV.log_format)

METRICS_TOKEN = ENV.metrics_token
METRICS_ALLOW = ENV.metrics_allow
METRICS = bool(METRICS_TOKEN or METRICS_ALLOW)  # what nobody may read is not counted
METRICS_DIR = ENV.data_dir / "metrics"
TRACING = ENV.tracing
