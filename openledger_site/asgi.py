"""ASGI: pages and API through Django, live hints through Channels."""

from __future__ import annotations

import os
import re

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "openledger_site.settings")
django_application = get_asgi_application()  # before anything that touches models

from channels.auth import AuthMiddlewareStack  # noqa: E402 # needs the app registry
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402 # as above
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402 # as above
from django.conf import settings  # noqa: E402 # as above
from django.urls import path  # noqa: E402 # as above

from datanets.services.receive_upload import PART_MAX_BYTES  # noqa: E402 # as above
from openledger_site.core.consumers import JobConsumer  # noqa: E402 # as above
from openledger_site.core.limits import limit_body  # noqa: E402 # as above

# What a form adds around a file of the largest size, and what any other form may hold.
FORM_BYTES, PAGE_BYTES = 1 << 20, 8 << 20
WHOLE_FILE = re.compile(
    r"/(datanets/[^/]+/contribute/|datanets/api/datanets/[^/]+/contributions/|v1/files)"
)
PART_OF_FILE = re.compile(r"/datanets/api/(datanets/[^/]+/uploads|uploads/[^/]+)/")


def body_bytes_max(path: str) -> int:
    """Only doors that take files take large bodies: they are on disk before any view refuses."""
    if WHOLE_FILE.fullmatch(path):
        return int(settings.UPLOAD_SIZE_MAX_BYTES) + FORM_BYTES
    if PART_OF_FILE.fullmatch(path):
        return PART_MAX_BYTES + FORM_BYTES
    return PAGE_BYTES


application = ProtocolTypeRouter(
    {
        "http": limit_body(django_application, body_bytes_max),
        "websocket": AllowedHostsOriginValidator(
            AuthMiddlewareStack(URLRouter([path("ws/jobs/<uuid:job_id>/", JobConsumer.as_asgi())]))
        ),
    }
)
