#!/usr/bin/env bash
# Makes or refreshes .venv from requirements/dev.txt, only when something it is made from changed.
# Two runs at once are safe: the second waits, then finds nothing to do.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python="${PYTHON:-python3}"
stamp=.venv/.stamp

# By content, not by time: a fresh checkout or a touched file changes nothing.
fingerprint() {
    {
        "$python" -c 'import sys; print(sys.version, sys.base_prefix)'
        pwd -P
        cat requirements/dev.txt pyproject.toml ci/build_env.sh
    } | sha256sum
}

up_to_date() {
    [ -x .venv/bin/python ] && [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(fingerprint)" ]
}

retry() {
    local attempt
    for attempt in 1 2 3; do
        "$@" </dev/null && return 0
        echo "attempt $attempt failed: $*" >&2
        sleep "$attempt"
    done
    return 1
}

build() {
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
        echo "depin-id needs Python 3.11 or newer; set PYTHON=/path/to/python3.11" >&2
        return 1
    }
    # Without its stamp a half-made environment is never taken for a whole one.
    rm -rf .venv
    "$python" -m venv .venv
    retry .venv/bin/python -m pip install --quiet --disable-pip-version-check \
        --require-hashes --only-binary :all: -r requirements/dev.txt
    .venv/bin/python -m pip install --quiet --disable-pip-version-check \
        --no-deps --no-build-isolation -e .
    fingerprint >"$stamp.new"
    mv "$stamp.new" "$stamp"
}

if up_to_date; then exit 0; fi
if command -v flock >/dev/null; then
    # The folder itself is the lock: nothing to clean up, released when this process ends.
    exec 9<requirements
    flock 9
fi
if up_to_date; then exit 0; fi
# A build must not keep the lock through a child that outlives it.
build 9<&-
