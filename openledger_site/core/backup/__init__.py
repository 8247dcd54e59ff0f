"""A copy of the whole site in one folder, and a site made again from it.

    FOLDER/manifest.json   what is in here, with the digest of every file
    FOLDER/database.dump   pg_dump's custom format
    FOLDER/media/          files, adapters and indexes, as they are kept (sealed ones stay sealed)
    FOLDER/chain/          addresses of the contracts, and the development chain's state

Secrets are never in it: who has the folder alone cannot read rows of private Datanets.
"""

from __future__ import annotations

from openledger_site.core.backup.back_up import back_up
from openledger_site.core.backup.manifest import BackupRefused, Manifest
from openledger_site.core.backup.restore import restore

__all__ = ["BackupRefused", "Manifest", "back_up", "restore"]
