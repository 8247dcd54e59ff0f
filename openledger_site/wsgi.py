"""WSGI, for servers that cannot speak ASGI: pages and API, no WebSockets."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "openledger_site.settings")
application = get_wsgi_application()
