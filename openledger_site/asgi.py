"""ASGI: pages and API through Django, live hints through Channels."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "openledger_site.settings")
django_application = get_asgi_application()  # before anything that touches models

from channels.auth import AuthMiddlewareStack  # noqa: E402 # needs the app registry
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402 # as above
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402 # as above
from django.conf import settings  # noqa: E402 # as above
from django.urls import path  # noqa: E402 # as above

from openledger_site.core.consumers import JobConsumer  # noqa: E402 # as above
from openledger_site.core.limits import limit_body  # noqa: E402 # as above

# What a form adds around a file of the largest size.
FORM_BYTES = 1 << 20

application = ProtocolTypeRouter(
    {
        "http": limit_body(django_application, settings.UPLOAD_SIZE_MAX_BYTES + FORM_BYTES),
        "websocket": AllowedHostsOriginValidator(
            AuthMiddlewareStack(URLRouter([path("ws/jobs/<uuid:job_id>/", JobConsumer.as_asgi())]))
        ),
    }
)
