"""Attacks on the payout rule: worlds with an attacker in them, trained, indexed, asked and paid.

* ``market.py``   one world through the product's own code, from training to parts per billion
* ``attacks.py``  what an attacker hands in
* ``shadow.py``   rows optimised against a model of the attacker's own
* ``suite.py``    every attack against the honest world
"""
