"""Sign-in by wallet, wallet links, and API keys."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone
from eth_utils.address import is_address, to_checksum_address

from openledger_site.accounts.closing import keep_open
from openledger_site.accounts.eip4361 import (
    MalformedMessage,
    SignInMessage,
    parse_message,
    recover_signer,
)
from openledger_site.accounts.models import ApiKey, SignInNonce, User, Wallet
from openledger_site.core.audit import record_audit
from openledger_site.core.errors import Conflict, DomainError
from openledger_site.core.outbox import send_on_commit

NONCE_LIFETIME = timedelta(minutes=5)
NONCES_PER_SESSION_MAX = 20
CLOCK_SKEW = timedelta(seconds=60)
STATEMENTS = {
    "sign-in": "Sign in to OpenLedger.",
    "link": "Link this wallet to my OpenLedger account.",
}
API_KEY_SCOPES = {
    "inference": "Ask models and pay for the answers",
    "data": "Upload to Datanets and read them",
    "rewards": "Read balances and earnings",
    "withdraw": "Take the balance back to a linked wallet",
}
API_KEYS_PER_USER_MAX = 20
# "Last used" is for people: once a minute is as exact as it needs to be.
LAST_USED_GRANULARITY = timedelta(minutes=1)
MAIL_TASK = "accounts.mail_about_wallet"


class SignInRefused(DomainError):
    status = 403
    code = "sign_in_refused"
    message = "This wallet signature cannot be accepted. Ask for a new message and sign it again."


class TooManyNonces(DomainError):
    status = 429
    code = "too_many_attempts"
    message = "Too many unfinished sign-ins in this browser. Wait five minutes and try again."


class TooManyGuesses(DomainError):
    status = 429
    code = "too_many_attempts"
    message = "Too many attempts. Wait a minute and try again."


class WalletTaken(Conflict):
    code = "wallet_taken"
    message = "This wallet belongs to another account. Sign in with it, or use another wallet."


def issue_nonce(*, address: str, chain_id: int, session_key: str, purpose: str) -> SignInMessage:
    """Make the exact message for `address` to sign; its nonce works once, for five minutes."""
    if not is_address(address):
        raise SignInRefused("This is not a wallet address.", where="address", code="bad_address")
    if purpose not in STATEMENTS:
        raise SignInRefused("Unknown purpose.", where="purpose", code="bad_purpose")
    _check_chain(chain_id)
    SignInNonce.objects.filter(expires_at__lt=Now()).delete()
    if SignInNonce.objects.filter(session_key=session_key).count() >= NONCES_PER_SESSION_MAX:
        raise TooManyNonces(limit=NONCES_PER_SESSION_MAX)
    now = timezone.now()
    message = SignInMessage(
        domain=urlsplit(settings.SITE_URL).netloc,
        address=to_checksum_address(address),
        uri=settings.SITE_URL,
        chain_id=chain_id,
        nonce=secrets.token_hex(16),
        issued_at=now,
        expiration_time=now + NONCE_LIFETIME,
        statement=STATEMENTS[purpose],
    )
    SignInNonce.objects.create(
        nonce=message.nonce,
        address=message.address,
        session_key=session_key,
        purpose=purpose,
        expires_at=now + NONCE_LIFETIME,
    )
    return message


def verify_message(*, text: str, signature: str, session_key: str, purpose: str) -> SignInMessage:
    """Check every field against what this site issued, then the signature; uses up the nonce.

    Refused: another domain, URI, chain, statement or purpose, an expired or future message, a
    nonce that is unknown, used, or from another browser session, and any other signer.
    """
    try:
        message = parse_message(text)
        signer = recover_signer(text, signature)
    except MalformedMessage as problem:
        raise SignInRefused(str(problem), code="malformed_message") from problem
    _check_fields(message, purpose)
    used, _ = SignInNonce.objects.filter(
        nonce=message.nonce,
        address=message.address,
        session_key=session_key,
        purpose=purpose,
        expires_at__gt=Now(),
    ).delete()
    if used != 1:
        raise SignInRefused(
            "This message was used already, has expired, or was made for another browser.",
            code="nonce_refused",
        )
    if signer != message.address:
        raise SignInRefused("The signature is by another wallet.", code="wrong_signer")
    return message


def _check_fields(message: SignInMessage, purpose: str) -> None:
    now = timezone.now()
    facts = {
        "domain": message.domain == urlsplit(settings.SITE_URL).netloc,
        "scheme": message.scheme in (None, urlsplit(settings.SITE_URL).scheme),
        "uri": message.uri == settings.SITE_URL,
        "statement": message.statement == STATEMENTS.get(purpose),
        "issued_at": now - NONCE_LIFETIME - CLOCK_SKEW <= message.issued_at <= now + CLOCK_SKEW,
        "expiration_time": message.expiration_time is not None and message.expiration_time > now,
        "not_before": message.not_before is None or message.not_before <= now,
        "resources": not message.resources,
    }
    for field, holds in facts.items():
        if not holds:
            raise SignInRefused(
                f"The {field.replace('_', ' ')} in this message is not the one we issued.",
                where=field,
                code=f"wrong_{field}",
            )
    _check_chain(message.chain_id)


def _check_chain(chain_id: int) -> None:
    if chain_id != settings.CHAIN_ID:
        raise SignInRefused(
            f"Switch your wallet to chain {settings.CHAIN_ID} and try again.",
            where="chain_id",
            code="wrong_chain_id",
        )


def user_for_wallet(message: SignInMessage) -> User:
    """The owner of a verified wallet; a new account for an address seen for the first time."""
    with transaction.atomic():
        wallet = (
            Wallet.objects.select_related("user")
            .filter(address=message.address, unlinked_at__isnull=True)
            .first()
        )
        if wallet is not None:
            return wallet.user
        if Wallet.objects.filter(address=message.address, user__is_active=False).exists():
            raise WalletClosed()
        user = User.objects.create_user(email=None)
        # It is the account's only way in, so waiting would guard nothing.
        return link_wallet(user, message=message, wait_seconds=0).user


class WalletClosed(DomainError):
    status = 403
    code = "wallet_closed"
    message = "This wallet was unlinked from its account, or the account is closed."


def user_for_payer(address: str, chain_id: int) -> User:
    """The owner of an address whose key signed a payment; a new account for one seen first.

    Its human takes the account over by signing in with that wallet. Raises `WalletClosed`.
    """
    owner = _owner_of(address)
    if owner is not None:
        return owner
    try:
        with transaction.atomic():
            user = User.objects.create_user(email=None)
            wallet = Wallet.objects.create(user=user, address=address, chain_id=chain_id)
            record_audit("wallet.paid_first", actor=user, subject=f"wallet:{wallet.address}")
            return user
    except IntegrityError:  # another payment by this wallet was a moment faster
        owner = _owner_of(address)
        if owner is None:
            raise
        return owner


def _owner_of(address: str) -> User | None:
    wallet = Wallet.objects.select_related("user").filter(address=address).first()
    if wallet is None:
        return None
    if wallet.unlinked_at is not None or not wallet.user.is_active:
        raise WalletClosed()
    return wallet.user


def link_wallet(user: User, *, message: SignInMessage, wait_seconds: int | None = None) -> Wallet:
    """Tie a verified address to `user`; an address belongs to one account only.

    No money goes to it for `WALLET_WAIT_SECONDS`, or as many as are given, and the person is told
    by mail: a stolen session could link a wallet too (decision 0046).
    """
    wait = timedelta(seconds=settings.WALLET_WAIT_SECONDS if wait_seconds is None else wait_seconds)
    with transaction.atomic():
        keep_open(user)
        try:
            with transaction.atomic():
                wallet, is_new = Wallet.objects.get_or_create(
                    address=message.address,
                    defaults={
                        "user": user,
                        "chain_id": message.chain_id,
                        "paid_from": Now() + wait,
                    },
                )
        except IntegrityError:
            raise WalletTaken from None
        if wallet.user_id != user.pk:
            raise WalletTaken
        back = Wallet.objects.filter(pk=wallet.pk, unlinked_at__isnull=False).update(
            unlinked_at=None, linked_at=Now(), paid_from=Now() + wait
        )
        wallet.refresh_from_db()
        if is_new or back:
            record_audit("wallet.linked", actor=user, subject=f"wallet:{wallet.address}")
            _tell_owner(wallet)
    return wallet


def unlink_wallet(wallet: Wallet, *, actor: User) -> None:
    """Stop a wallet from signing in or being paid. It stays reserved for this account."""
    with transaction.atomic():
        keep_open(actor)  # and two unlinkings stand in line
        has_password = bool(actor.email) and actor.has_usable_password()  # asked for by address
        has_other_way_in = has_password or (
            Wallet.objects.filter(user=actor, unlinked_at__isnull=True)
            .exclude(pk=wallet.pk)
            .exists()
        )
        if not has_other_way_in:
            raise Conflict(
                "This wallet is the only way into your account. Add an email and password first."
            )
        Wallet.objects.filter(pk=wallet.pk).update(unlinked_at=Now())
        record_audit("wallet.unlinked", actor=actor, subject=f"wallet:{wallet.address}")
        _tell_owner(wallet)


def _tell_owner(wallet: Wallet) -> None:
    if wallet.user.email:
        send_on_commit(MAIL_TASK, queue="mail", wallet_id=wallet.pk)


def mail_about_wallet(wallet_id: int) -> int:
    """Tell a person that a wallet was linked or unlinked; returns the number of messages."""
    wallet = Wallet.objects.select_related("user").get(pk=wallet_id)
    if not wallet.user.email:
        return 0
    state = "unlinked from" if wallet.unlinked_at else "linked to"
    lines = [f"The wallet {wallet.address} was {state} your account."]
    if wallet.waits:
        lines.append(f"Money can go to it from {wallet.paid_from:%d %B %Y at %H:%M} UTC on.")
    lines += [
        "",
        "If that was you, there is nothing to do. If not, somebody else is in your account: change"
        " your password first, then unlink what you do not know and link your own again.",
        f"{settings.SITE_URL}{reverse('account_change_password')}",
        f"{settings.SITE_URL}{reverse('accounts:profile')}",
        "",
    ]
    subject = f"A wallet was {state} your account"
    return EmailMessage(subject, "\n".join(lines), to=[wallet.user.email]).send()


def rename_user(user: User, *, display_name: str) -> None:
    with transaction.atomic():
        User.objects.filter(pk=user.pk).update(display_name=display_name)
        record_audit("user.renamed", actor=user, subject=f"user:{user.public_id}")


def create_api_key(
    user: User, *, name: str, scopes: Sequence[str], expires_at: datetime | None = None
) -> tuple[ApiKey, str]:
    """Make a key; returns the row and the secret, which is shown once and never stored."""
    with transaction.atomic():
        keep_open(user)
        live = ApiKey.objects.filter(user=user, revoked_at__isnull=True).count()
        if live >= API_KEYS_PER_USER_MAX:
            raise Conflict(
                f"You have {live} keys. Revoke one you no longer use first.",
                limit=API_KEYS_PER_USER_MAX,
            )
        prefix = f"ol_live_{secrets.token_hex(4)}"
        secret = f"{prefix}_{secrets.token_hex(16)}"
        key = ApiKey.objects.create(
            user=user,
            name=name,
            prefix=prefix,
            digest=_digest(secret),
            scopes=sorted(set(scopes) & set(API_KEY_SCOPES)),
            expires_at=expires_at,
        )
        record_audit("api_key.created", actor=user, subject=f"api_key:{key.public_id}")
    return key, secret


def revoke_api_key(key: ApiKey, *, actor: User) -> None:
    with transaction.atomic():
        ApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(revoked_at=Now())
        record_audit("api_key.revoked", actor=actor, subject=f"api_key:{key.public_id}")


def authenticate_api_key(secret: str) -> ApiKey | None:
    """The live key with this secret, or None: unknown, revoked, expired or of a closed account."""
    prefix = secret.rpartition("_")[0]
    key = (
        ApiKey.objects.select_related("user")
        .filter(Q(expires_at__isnull=True) | Q(expires_at__gt=Now()), prefix=prefix)
        .filter(revoked_at__isnull=True, user__is_active=True)
        .first()
    )
    # Compare something either way, so that a wrong prefix takes as long as a wrong secret.
    expected = key.digest if key else _digest("")
    if not hmac.compare_digest(expected, _digest(secret)) or key is None:
        return None
    ApiKey.objects.filter(
        Q(last_used_at__isnull=True) | Q(last_used_at__lt=Now() - LAST_USED_GRANULARITY), pk=key.pk
    ).update(last_used_at=Now())
    return key


def _digest(secret: str) -> str:
    # The secret is 128 random bits: a fast hash is right, there is nothing to guess.
    return hashlib.sha256(secret.encode()).hexdigest()
