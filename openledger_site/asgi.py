"""ASGI: pages and API through Django, live hints through Channels."""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "openledger_site.settings")
django_application = get_asgi_application()  # before anything that touches models

from channels.auth import AuthMiddlewareStack  # noqa: E402 # needs the app registry
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402 # as above
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402 # as above
from django.urls import path  # noqa: E402 # as above

from openledger_site.core.consumers import JobConsumer  # noqa: E402 # as above

application = ProtocolTypeRouter(
    {
        "http": django_application,
        "websocket": AllowedHostsOriginValidator(
            AuthMiddlewareStack(URLRouter([path("ws/jobs/<uuid:job_id>/", JobConsumer.as_asgi())]))
        ),
    }
)
