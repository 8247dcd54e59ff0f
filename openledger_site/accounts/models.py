"""People, the wallets they proved to be theirs, and the keys their programs use."""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Lower, Now
from django.utils import timezone


class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str | None, password: str | None = None, **fields: Any) -> User:
        user = self.model(email=self.normalize_email(email) or None, **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> User:
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)


class User(AbstractBaseUser, PermissionsMixin):
    """A person. Others see `name`, never the email address."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    # Empty for somebody who signed up with a wallet only.
    email = models.EmailField(null=True, blank=True, unique=True)
    display_name = models.CharField(max_length=60, blank=True)
    is_staff = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    date_joined = models.DateTimeField(db_default=Now())

    objects = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"

    class Meta:
        constraints = [
            models.UniqueConstraint(Lower("email"), name="user_email_unique_in_any_case")
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        """What others see: the chosen name, or a handle that gives nothing away."""
        return self.display_name or f"person-{str(self.public_id)[:8]}"


class Wallet(models.Model):
    """An address whose key holder signed our message: may sign in, pay and be paid."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="wallets"
    )
    address = models.CharField(max_length=42, unique=True, help_text="EIP-55 checksummed.")
    chain_id = models.BigIntegerField()
    linked_at = models.DateTimeField(db_default=Now())
    paid_from = models.DateTimeField(
        db_default=Now(),
        help_text=(
            "No money goes to it before; later than the link where it was added to an account."
        ),
    )
    unlinked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(Lower("address"), name="wallet_address_unique_in_any_case")
        ]

    def __str__(self) -> str:
        return self.address

    @property
    def waits(self) -> bool:
        """Whether no money goes to it yet."""
        return self.unlinked_at is None and self.paid_from > timezone.now()


class SignInNonce(models.Model):
    """A challenge we issued for one address and one purpose. Deleted when it is used."""

    nonce = models.CharField(max_length=64, primary_key=True)
    address = models.CharField(max_length=42)
    session_key = models.CharField(max_length=64)
    purpose = models.CharField(max_length=10)
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        indexes = [models.Index(fields=["session_key"], name="sign_in_nonce_of_session")]

    def __str__(self) -> str:
        return f"{self.purpose} {self.address}"


class ApiKey(models.Model):
    """A secret for programs. We keep its first letters and its SHA-256, never the key."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_keys"
    )
    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    name = models.CharField(max_length=60)
    prefix = models.CharField(max_length=16, unique=True)
    digest = models.CharField(max_length=64)
    scopes = ArrayField(models.CharField(max_length=30))
    created_at = models.DateTimeField(db_default=Now())
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"
