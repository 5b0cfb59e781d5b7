#!/usr/bin/env bash
# Writes requirements/dev.txt and constraints.txt; PYTHON is one that has pip-tools.
# Versions that still fit are kept; pass --upgrade to move them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

mkdir -p build
# Start from what is pinned now.
[ ! -f requirements/dev.txt ] || cp requirements/dev.txt build/dev.in.txt
"$PYTHON" -m piptools compile --quiet --generate-hashes --strip-extras --all-extras \
    --allow-unsafe --no-header --no-annotate --no-emit-index-url --no-emit-trusted-host \
    --no-emit-find-links --output-file build/dev.in.txt "$@" pyproject.toml </dev/null

# Where a package came from is this machine's business, not the project's; nor is the project its own need.
{
    echo "# Everything the tests need, with hashes. Made by \`make lock\`: do not edit."
    grep -Ev '^depin-id( |$)|^[[:space:]]*(#|--?(index-url|extra-index-url|find-links|trusted-host|i|f)([ =]|$)|$)' \
        build/dev.in.txt
} >requirements/dev.txt
{
    echo "# Exact versions of everything, for \`pip install -c constraints.txt\`."
    echo "# Made by \`make lock\`: do not edit."
    sed -nE 's/^([A-Za-z0-9._-]+==[^ \\;]+).*/\1/p' requirements/dev.txt
} >constraints.txt
