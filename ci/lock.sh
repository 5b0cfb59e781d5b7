#!/usr/bin/env bash
# Writes requirements/dev.txt and constraints.txt; PYTHON is one that has pip-tools.
# Versions that still fit are kept; pass --upgrade to move them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# compile SOURCE FILE [OPTION...]: FILE with hashes; where a package came from is this machine's
# business, not the project's; nor is the project its own need.
compile() {
    local source="$1" file="$2" work="build/$(basename "$2")"
    shift 2
    # Start from what is pinned now.
    [ ! -f "$file" ] || cp "$file" "$work"
    "$PYTHON" -m piptools compile --quiet --generate-hashes --strip-extras --allow-unsafe \
        --no-header --no-annotate --no-emit-index-url --no-emit-trusted-host \
        --no-emit-find-links --output-file "$work" "$@" "$source" </dev/null
    {
        echo "# With hashes. Made by \`make lock\`: do not edit."
        grep -Ev '^depin-id( |$)|^[[:space:]]*(#|--?(index-url|extra-index-url|find-links|trusted-host|i|f)([ =]|$)|$)' \
            "$work"
    } >"$file"
}

mkdir -p build
compile pyproject.toml requirements/dev.txt --all-extras "$@"
# What the bench compares with, and the audit's tool, live in environments of their own.
for source in bench/peers/requirements/*.in ci/*.in; do
    compile "$source" "${source%.in}.txt" "$@"
done
{
    echo "# Exact versions of everything, for \`pip install -c constraints.txt\`."
    echo "# Made by \`make lock\`: do not edit."
    sed -nE 's/^([A-Za-z0-9._-]+==[^ \\;]+).*/\1/p' requirements/dev.txt
} >constraints.txt
