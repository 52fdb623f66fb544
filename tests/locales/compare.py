#!/usr/bin/env python3
"""Our languages, aliases and scripts against two libraries that have CLDR's data. Not a part of `tests/run`: it needs

    pip install langcodes==3.5.1 language_data==1.4.0 Babel==2.19.0

Ends with 1 if they differ in a language, alias or region that is not listed here with its reason."""

import pathlib
import re
import sys

import langcodes
from babel.core import get_global

LOCALE = pathlib.Path(__file__).parents[2] / "shared/src/locale"
PAIR = re.compile(r'\("([A-Za-z0-9]{2,3})", "([^"]+)"\)')

# Where we decide otherwise on purpose: see aliases.rs.
# `jaw` is an old code of ISO 639-2, which ICU 78 knows.
OWN = {"jaw", "no", "nor", "ayc", "arz", "ary", "apc", "ajp", "acm", "aeb", "ars"}


def lists(path):
    """The pairs of LANGUAGES and of REGIONS in a file."""
    languages, regions = (LOCALE / path).read_text().split("const REGIONS")
    return dict(PAIR.findall(languages)), dict(PAIR.findall(regions))


def main():
    names, _ = lists("names.rs")
    aliases, old_regions = lists("aliases.rs")
    babel = get_global("language_aliases")
    territories = get_global("territory_aliases")
    found = []

    def libraries(code):
        return {
            "langcodes": langcodes.standardize_tag(code, macro=True),
            "Babel": babel.get(code, code).replace("_", "-"),
        }

    # What we count by itself is no other name of something else.
    for code in names:
        for library, theirs in libraries(code).items():
            if theirs != code:
                found.append((library, code, code, theirs))
    # The other names mean the same to at least one of them.
    for code, ours in aliases.items():
        theirs = libraries(code)
        # A library may know the result by yet another name.
        if code not in OWN and ours not in theirs.values():
            found.append(("both", code, ours, theirs))
    for old, now in old_regions.items():
        theirs = territories.get(old, [])
        theirs = theirs.split() if isinstance(theirs, str) else theirs
        if old != "SP" and now not in theirs:
            found.append(("Babel", old, now, theirs))
    for difference in found:
        print("differs:", *difference)
    print(f"{len(names)} languages, {len(aliases)} aliases, {len(old_regions)} old regions, {len(found)} differences")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
