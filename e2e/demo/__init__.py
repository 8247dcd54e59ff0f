"""The demo: five people drive the whole loop over real HTTP. `python -m e2e.demo` runs it."""

from __future__ import annotations
