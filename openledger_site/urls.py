"""Every door of the site, one line an app."""

from __future__ import annotations

from allauth.account.decorators import secure_admin_login
from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView

from openledger_site.core import views

# The back office has the site's own door: second factor, limits on guesses.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]

urlpatterns = [
    path("", views.home, name="home"),
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
    path("admin/", admin.site.urls),
    path("accounts/", include("openledger_site.accounts.urls")),
    path("accounts/", include("allauth.urls")),
    path("rewards/", include("rewards.urls")),
    path("datanets/", include("datanets.urls")),
    path("factory/", include("modelfactory.urls")),
    path("marketplace/", include("marketplace.urls")),
    path("v1/", include("marketplace.api_urls")),
    path("jobs/", include("openledger_site.core.urls")),
    path("api/schema/", login_not_required(SpectacularAPIView.as_view()), name="api-schema"),
]
