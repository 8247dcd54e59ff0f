"""Pages: each view fetches through a selector, checks a form, calls one service, answers."""

from __future__ import annotations
