#!/bin/bash
# Babel 2.19.0 and langcodes 3.5.1 read old codes of languages from the same CLDR data.
#
# One would guess: a library that reads `iw` as Hebrew, and that has the alias `sh` = `sr_Latn` in its data, reads `sh` as Serbian
# in Latin letters; and the two libraries agree on Mandarin.
# Seen: Babel follows an alias only if it is a bare language (iw, in, cmn). Where the alias says a script or a region too
# (sh = sr_Latn, swc = sw_CD, prs = fa_AF), Locale.parse raises UnknownLocaleError. Its own table has the alias.
# langcodes reads all three of them, but keeps `cmn` and `arb` apart from `zh` and `ar` unless it is asked for macro-languages.
# So whoever maps languages with one of the two gets other cells than with the other one.
#
# Needs python3 and PyPI. Ends with 1 if anything of this has changed.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/venv"
"$T/venv/bin/pip" install --quiet --disable-pip-version-check Babel==2.19.0 langcodes==3.5.1 language_data==1.4.0
"$T/venv/bin/python" - >"$T/seen" <<'PY'
import langcodes
from babel.core import Locale, UnknownLocaleError, get_global

for code in ["iw", "cmn", "arb", "sh", "swc", "prs"]:
    try:
        read = str(Locale.parse(code).language)
    except UnknownLocaleError:
        read = "UnknownLocaleError"
    print(code, "babel", read, "alias", get_global("language_aliases").get(code), "langcodes", langcodes.standardize_tag(code))
PY
cat "$T/seen"
diff "$T/seen" - <<'SEEN'
iw babel he alias he langcodes he
cmn babel zh alias zh langcodes cmn
arb babel ar alias ar langcodes arb
sh babel UnknownLocaleError alias sr_Latn langcodes sr-Latn
swc babel UnknownLocaleError alias sw_CD langcodes sw-CD
prs babel UnknownLocaleError alias fa_AF langcodes fa-AF
SEEN
echo "as it was seen"
