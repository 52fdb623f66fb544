# Sourced by deploy/run, deploy/bench and tests/run: makes sure that a C compiler and PostgreSQL are
# installed. As root on Debian and Ubuntu, it installs what is missing; elsewhere it prints what to install.

# Prints the folder of initdb and postgres; nothing if they are not installed.
postgresql_bin() {
    local bin
    for bin in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -rV) \
        "$(pg_config --bindir 2>/dev/null || true)" /usr/local/pgsql/bin /usr/local/bin /usr/bin; do
        if [ -x "$bin/initdb" ] && [ -x "$bin/postgres" ]; then
            echo "$bin"
            return
        fi
    done
}

prepare_machine() {
    local missing=()
    command -v cc >/dev/null || missing+=(gcc libc6-dev)
    [ -n "$(postgresql_bin)" ] || missing+=(postgresql)
    if [ ${#missing[@]} -gt 0 ]; then
        if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
            echo "Missing here: ${missing[*]}." >&2
            echo "Install PostgreSQL 15 or newer and a C compiler (Debian, Ubuntu: sudo apt-get install ${missing[*]})," >&2
            echo "then run this again." >&2
            return 1
        fi
        install_packages "${missing[@]}"
        if [ -z "$(postgresql_bin)" ] || ! command -v cc >/dev/null; then
            echo "${missing[*]} could not be installed." >&2
            return 1
        fi
    fi
    if ! command -v cargo >/dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then
        PATH="$HOME/.cargo/bin:$PATH"
    fi
    if ! command -v cargo >/dev/null; then
        echo "Missing here: Rust. Install it from https://rustup.rs, then run this again." >&2
        return 1
    fi
}

install_packages() {
    echo "Installing $* with apt-get."
    # Keeps the package from starting a server for the whole machine; ours is private.
    local no_cluster=/etc/postgresql-common/createcluster.d/prose-analytics.conf log status=0
    mkdir -p "${no_cluster%/*}"
    echo 'create_main_cluster = false' >"$no_cluster"
    log=$(mktemp)
    {
        apt-get update -q &&
            DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$@"
    } >"$log" 2>&1 </dev/null || status=$?
    rm -f "$no_cluster"
    [ "$status" = 0 ] || cat "$log" >&2
    rm -f "$log"
    return "$status"
}
