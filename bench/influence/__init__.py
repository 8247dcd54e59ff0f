"""What `python -m bench attribution` is made of.

* ``world.py``   records, contributors, questions: what is trained on and asked about
* ``bank.py``    retrained adapters, and what each thinks of every question: the yardstick
* ``peers/``     published methods on the same adapter and tokens, each in its own environment
* ``ours.py``    our signals and the calibrated score
* ``tasks.py``   from scores and the yardstick to figures
"""

from __future__ import annotations
