"""Profile, wallets and API keys. Email, password, passkeys and MFA pages are allauth's."""

from __future__ import annotations

from uuid import UUID

from allauth.core import ratelimit
from allauth.core.ratelimit import consume
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login, logout
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from openledger_site.accounts import selectors, services
from openledger_site.accounts.closing import (
    AccountInUse,
    close_account,
    losses_of,
    obstacles_of,
)
from openledger_site.accounts.forms import ApiKeyForm, CloseAccountForm, ProfileForm
from openledger_site.accounts.known import known_of
from openledger_site.accounts.requests import signed_in_user
from openledger_site.core.streaming import StreamedResponse


@require_http_methods(["GET", "POST"])
def profile(request: HttpRequest) -> HttpResponse:
    user = signed_in_user(request)
    form = ProfileForm(request.POST or None, initial={"display_name": user.display_name})
    if form.is_valid():
        services.rename_user(user, **form.cleaned_data)
        messages.success(request, "Saved.")
        return redirect("accounts:profile")
    wallets = selectors.wallets_of(user)
    return render(
        request,
        "accounts/profile.html",
        {"form": form, "wallets": wallets},
        status=422 if form.errors else 200,
    )


@require_GET
def known(request: HttpRequest) -> StreamedResponse:
    """Everything that the site keeps about the person, to download."""
    pieces = known_of(signed_in_user(request))
    response = StreamedResponse(pieces, content_type="application/json")
    response["Content-Disposition"] = 'attachment; filename="openledger-about-me.json"'
    response["Cache-Control"] = "no-store"
    return response


@sensitive_post_parameters("proof")
@require_http_methods(["GET", "POST"])
def account_close(request: HttpRequest) -> HttpResponse:
    """What closing the account would mean; POST closes it, once nothing stands in the way."""
    user = signed_in_user(request)
    if request.method == "POST" and not consume(request, action="reauthenticate", user=user):
        raise services.TooManyGuesses()
    form = CloseAccountForm(user, request.POST or None)
    if form.is_valid():
        try:
            close_account(user=user, withdraw_rows=form.cleaned_data["rows"] == "withdraw")
            logout(request)
            messages.success(request, "Your account is closed.")
            return redirect("home")
        except AccountInUse as refusal:
            form.add_error(None, str(refusal))
    context = {"form": form, "obstacles": obstacles_of(user), "losses": losses_of(user)}
    status = 422 if form.errors else 200
    return render(request, "accounts/close.html", context, status=status)


@require_POST
def wallet_unlink(request: HttpRequest, wallet_id: int) -> HttpResponse:
    user = signed_in_user(request)
    services.unlink_wallet(selectors.wallet_for(user, wallet_id), actor=user)
    messages.success(request, "The wallet is unlinked.")
    return redirect("accounts:profile")


@login_not_required
@require_POST
def wallet_nonce(request: HttpRequest) -> JsonResponse:
    """Give the exact EIP-4361 text that this browser's wallet is to sign."""
    if not ratelimit.consume(request, action="wallet_nonce"):
        raise services.TooManyNonces("Too many sign-ins from this address. Wait a minute.")
    if not request.session.session_key:
        request.session.create()
    chain_id = request.POST.get("chain_id", "")
    message = services.issue_nonce(
        address=request.POST.get("address", ""),
        chain_id=int(chain_id) if chain_id.isdecimal() and len(chain_id) < 19 else 0,
        session_key=request.session.session_key or "",
        purpose=request.POST.get("purpose", "sign-in"),
    )
    return JsonResponse({"message": message.text(), "nonce": message.nonce})


@login_not_required
@sensitive_post_parameters("signature")
@require_POST
def wallet_verify(request: HttpRequest) -> JsonResponse:
    """Sign in with a wallet, or link one to the signed-in account."""
    purpose = request.POST.get("purpose", "sign-in")
    if purpose == "link" and not request.user.is_authenticated:
        raise services.SignInRefused("Sign in first, then link the wallet.", code="sign_in_first")
    message = services.verify_message(
        text=request.POST.get("message", ""),
        signature=request.POST.get("signature", ""),
        session_key=request.session.session_key or "",
        purpose=purpose,
    )
    if purpose == "link":
        wallet = services.link_wallet(signed_in_user(request), message=message)
        wait = f" Money can go to it from {wallet.paid_from:%d %B %Y, %H:%M} UTC on."
        messages.success(request, f"The wallet is linked.{wait if wallet.waits else ''}")
        return JsonResponse({"redirect": reverse("accounts:profile")})
    user = services.user_for_wallet(message)
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    return JsonResponse({"redirect": _safe_next(request)})


@require_http_methods(["GET", "POST"])
def api_keys(request: HttpRequest) -> HttpResponse:
    user = signed_in_user(request)
    form, secret = ApiKeyForm(request.POST or None), None
    if form.is_valid():
        _, secret = services.create_api_key(user, **form.key_fields())
        form = ApiKeyForm()
    response = render(
        request,
        "accounts/api_keys.html",
        {
            "form": form,
            "secret": secret,
            "keys": [
                (key, [services.API_KEY_SCOPES.get(scope, scope) for scope in key.scopes])
                for key in selectors.api_keys_of(user)
            ],
            "site_url": settings.SITE_URL,
        },
        status=422 if form.errors else 200,
    )
    response["Cache-Control"] = "no-store"
    return response


@require_POST
def api_key_revoke(request: HttpRequest, public_id: UUID) -> HttpResponse:
    user = signed_in_user(request)
    services.revoke_api_key(selectors.api_key_for(user, public_id), actor=user)
    messages.success(request, "The key is revoked: it stops working at once.")
    return redirect("accounts:api-keys")


def _safe_next(request: HttpRequest) -> str:
    target = request.POST.get("next", "")
    if url_has_allowed_host_and_scheme(target, {request.get_host()}, request.is_secure()):
        return target
    return reverse("home")
