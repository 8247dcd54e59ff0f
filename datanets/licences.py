"""The licences a contributor may give, by SPDX or RAIL key, and the agreement they accept."""

from __future__ import annotations

TRAIN_ONLY = "LicenseRef-OpenLedger-Train-Only"
LICENCES: dict[str, str] = {
    "CC0-1.0": "CC0 1.0: no rights kept",
    "CC-BY-4.0": "CC BY 4.0: name the author",
    "CC-BY-SA-4.0": "CC BY-SA 4.0: name the author, share alike",
    "CC-BY-NC-4.0": "CC BY-NC 4.0: no commercial use",
    "ODC-By-1.0": "ODC-By 1.0: databases, name the source",
    "ODbL-1.0": "ODbL 1.0: databases, share alike",
    "PDDL-1.0": "PDDL 1.0: databases, public domain",
    "MIT": "MIT",
    "Apache-2.0": "Apache 2.0",
    "BSD-3-Clause": "BSD 3-Clause",
    "PSF-2.0": "Python Software Foundation 2.0",
    "OpenRAIL-D": "OpenRAIL-D: data, with use restrictions",
    TRAIN_ONLY: "Train only: models may learn from it, nobody may copy it",
}

# Where the text of each licence stands; ours has none but its name.
LICENCE_URLS = {
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC-BY-SA-4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
    "CC-BY-NC-4.0": "https://creativecommons.org/licenses/by-nc/4.0/",
    "ODC-By-1.0": "https://opendatacommons.org/licenses/by/1-0/",
    "ODbL-1.0": "https://opendatacommons.org/licenses/odbl/1-0/",
    "PDDL-1.0": "https://opendatacommons.org/licenses/pddl/1-0/",
    "MIT": "https://spdx.org/licenses/MIT.html",
    "Apache-2.0": "https://spdx.org/licenses/Apache-2.0.html",
    "BSD-3-Clause": "https://spdx.org/licenses/BSD-3-Clause.html",
    "PSF-2.0": "https://spdx.org/licenses/PSF-2.0.html",
}

AGREEMENT_VERSION = "2026-11"
AGREEMENT = (
    "I have the right to give these rows under the licence I chose, they hold no secrets and no "
    "personal data of others, and models may be trained on them under that licence. I can withdraw "
    "them: they then leave every later version and their text is destroyed here; models already "
    "trained are listed and their owners must answer."
)


def licence_choices() -> list[tuple[str, str]]:
    return list(LICENCES.items())
