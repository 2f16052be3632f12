#!/bin/sh
# Asks for known vulnerabilities of what packaging/requirements.lock pins. Leaves with 0 and a reason
# where the database cannot be reached, with 1 where something was found.
#   sh packaging/audit.sh [PYTHON]
set -eu
python=${1:-python3}
here=$(dirname "$0")
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
# A mirror may answer at that address without having what is asked for.
probe='import json, urllib.request as u
page = u.urlopen("https://pypi.org/pypi/urllib3/1.26.4/json", timeout=10)
assert json.load(page)["vulnerabilities"]'
if ! "$python" -c "$probe" 2>/dev/null; then
    echo "audit: skipped: the vulnerability database at pypi.org cannot be reached from here"
    exit 0
fi
"$python" -m venv "$tools/venv"
"$tools/venv/bin/pip" install --quiet --disable-pip-version-check pip-audit
"$tools/venv/bin/pip-audit" --strict --require-hashes --disable-pip \
    --requirement "$here/requirements.lock"
