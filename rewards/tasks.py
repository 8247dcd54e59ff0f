"""Doors for Celery, called by the clock: one service each, safe to run twice."""

from __future__ import annotations

import logging

from celery import shared_task

from openledger_site.core.errors import DomainError
from rewards import services
from rewards.chain.errors import ChainError

logger = logging.getLogger(__name__)


@shared_task(name="rewards.watch_chain", queue="chain", expires=2)
def watch_chain() -> None:
    try:
        services.watch_chain()
    except (ChainError, DomainError) as problem:
        logger.warning("chain not watched: %s", problem)


@shared_task(name="rewards.send_transactions", queue="chain", expires=2)
def send_transactions() -> None:
    try:
        services.advance_epochs()
        services.advance_income()
        services.advance_slashes()
        services.send_transactions()
        services.return_refused_withdrawals()
        services.settle_relays()
    except (ChainError, DomainError) as problem:
        logger.warning("nothing sent to the chain: %s", problem)


@shared_task(name="rewards.read_governance", queue="chain", expires=3)
def read_governance() -> None:
    try:
        services.read_governance()
    except (ChainError, DomainError) as problem:
        logger.warning("votes not read: %s", problem)


@shared_task(name="rewards.read_contracts", queue="chain", expires=30)
def read_contracts() -> None:
    try:
        services.read_contracts()
    except (ChainError, DomainError) as problem:
        logger.warning("code of the contracts not compared: %s", problem)


@shared_task(name="rewards.pay_stakers", queue="chain", expires=10)
def pay_stakers() -> None:
    try:
        services.pay_stakers()
    except DomainError as problem:
        logger.warning("stakers not paid: %s", problem)


@shared_task(name="rewards.release_earnings", expires=10)
def release_earnings() -> None:
    services.release_earnings()


@shared_task(name="rewards.expire_holds", expires=60)
def expire_holds() -> None:
    services.expire_holds()


@shared_task(name="rewards.reconcile", queue="chain", expires=600)
def reconcile() -> None:
    services.reconcile()


@shared_task(name="rewards.close_books", queue="chain", expires=300)
def close_books() -> None:
    services.close_books()


@shared_task(name="rewards.measure_reputations", expires=600)
def measure_reputations() -> None:
    services.measure_reputations()
    services.take_back_reputations()
