#!/bin/bash
# Chromium 156.0.8078.108 (Debian bookworm): what navigator.languages says of the system's locale, with a fresh profile.
#
# One would guess: a browser on a system in de_CH.UTF-8 prefers de-CH, as it does on other systems, and `de` behind it; and the
# package `chromium-l10n` only translates menus.
# Seen: Chromium on Linux reports the translation that it shows, not the locale. de_CH and de_AT become de-DE, fr_CA becomes
# fr-FR, en_IE en-GB, es_AR es-419, zh_HK zh-TW, sr_RS@latin sr-RS (Cyrillic), and a language without a translation (br_FR)
# en-US. LANGUAGE changes nothing for de_CH. Without `chromium-l10n`, which `chromium` only recommends, everybody is en-US.
# So regions, and on minimal systems even languages, of browsers on Linux say nothing about the system.
#
# Needs apt on Debian bookworm, and the libraries that Chromium loads (`apt-get install chromium` brings them). Nothing is
# installed. Ends with 1 if anything of this has changed, with 2 if it cannot run.
set -euo pipefail
VERSION=156.0.8078.108-1~deb12u1
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
cd "$T"
chmod 755 .
apt-get download -qq "chromium=$VERSION" "chromium-common=$VERSION" "chromium-l10n=$VERSION" || exit 2
for with in chromium chromium-common; do dpkg-deb -x "$with"_*.deb "$T/without"; done
cp -a without with
dpkg-deb -x chromium-l10n_*.deb "$T/with"
! ldd with/usr/lib/chromium/chromium | grep "not found" || exit 2
cat >page.html <<'HTML'
<body><script>document.body.textContent = "SEEN " + navigator.languages.join(" ") + " END"</script></body>
HTML
ask() { # which, LANG, LANGUAGE
    rm -rf home && mkdir home
    env -u LC_ALL -u LC_MESSAGES -u LANGUAGE HOME="$T/home" LANG="$2" ${3:+LANGUAGE=$3} timeout 60 \
        "$1/usr/lib/chromium/chromium" --headless --no-sandbox --disable-gpu --disable-background-networking \
        --disable-component-update --disable-sync --no-first-run --user-data-dir="$T/home/profile" \
        --dump-dom "file://$T/page.html" 2>/dev/null | sed -n 's/.*<body>SEEN \(.*\) END.*/\1/p'
}
for locale in de_CH.UTF-8 de_AT.UTF-8 fr_CA.UTF-8 en_IE.UTF-8 es_AR.UTF-8 zh_HK.UTF-8 sr_RS@latin he_IL.UTF-8 br_FR.UTF-8; do
    echo "$locale: $(ask with "$locale" "")"
done >seen
echo "de_CH.UTF-8 with LANGUAGE=de_CH:de: $(ask with de_CH.UTF-8 de_CH:de)" >>seen
echo "de_CH.UTF-8 without chromium-l10n: $(ask without de_CH.UTF-8 "")" >>seen
cat seen
diff seen - <<'SEEN'
de_CH.UTF-8: de-DE de en-US en
de_AT.UTF-8: de-DE de en-US en
fr_CA.UTF-8: fr-FR fr en-US en
en_IE.UTF-8: en-GB en-US en
es_AR.UTF-8: es-419 es
zh_HK.UTF-8: zh-TW zh en-US en
sr_RS@latin: sr-RS sr en-US en
he_IL.UTF-8: he-IL he en-US en
br_FR.UTF-8: en-US en
de_CH.UTF-8 with LANGUAGE=de_CH:de: de-DE de en-US en
de_CH.UTF-8 without chromium-l10n: en-US en
SEEN
echo "as it was seen"
