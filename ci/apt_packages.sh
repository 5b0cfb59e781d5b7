#!/usr/bin/env bash
# Installs what is missing of ci/apt-packages.txt where that is possible without asking anybody.
# Not being able to is no error here: the tests that need a package say so themselves.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

command -v apt-get >/dev/null && command -v dpkg-query >/dev/null || exit 0

missing=()
while read -r package; do
    case "$package" in '' | '#'*) continue ;; esac
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
        missing+=("$package")
done <ci/apt-packages.txt
[ "${#missing[@]}" -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null || ! sudo -n true 2>/dev/null; then
        echo "not installed, and no right to install: ${missing[*]}" >&2
        exit 0
    fi
    as_root=(sudo -n)
fi

# RUNLEVEL=1 keeps a package from starting its service: the tests start brokers of their own.
apt() {
    ${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get -y -qq -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120 "$@" </dev/null
}

for attempt in 1 2 3; do
    apt update >/dev/null
    apt install --no-install-recommends "${missing[@]}" >/dev/null && exit 0
    echo "attempt $attempt to install ${missing[*]} failed" >&2
    sleep "$((attempt * 2))"
done
# One that this distribution calls otherwise must not keep the others away.
for package in "${missing[@]}"; do
    apt install --no-install-recommends "$package" >/dev/null ||
        echo "could not install $package: tests that need it will say so" >&2
done
exit 0
