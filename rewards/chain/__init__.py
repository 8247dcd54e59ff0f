"""The chain without Django: a local node, a careful client, contract calls and signed transactions.

- ``local``         anvil as a child process, with its state kept and restored
- ``client``        ``ChainClient``: reads with timeouts, typed errors and a chain id check
- ``artifacts``     committed ABI and bytecode, hash-checked
- ``contracts``     ``deploy_all`` and the ``Addresses`` it returns
- ``calls``         one function per contract call, returning ``ContractCall(to, data)``
- ``transactions``  ``Signer``: sign EIP-1559 transactions with a given nonce, and replacements
- ``keys``          the public development keys, and the refusal to use them elsewhere
- ``errors``        what can go wrong

Addresses are checksummed strings, hashes and roots are ``0x`` strings in lower case, money is
``int`` wei. Nothing here keeps state or opens a database; the caller stores nonces and signed
bytes.
"""

from __future__ import annotations
