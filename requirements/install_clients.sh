#!/usr/bin/env bash
# Makes an environment of a foreign client for `make test-serving`, and leaves it alone while it is
# up to date.
#   requirements/install_clients.sh VENV FILE      FILE: openpi.txt or triton.txt
# PYTHON names the interpreter (default python3); numpy below 2 has wheels up to Python 3.12.
set -euo pipefail

venv=$1
file=$(cd "$(dirname "$0")" && pwd)/$2
python=${PYTHON:-python3}

stop() {
    echo "policy_runner: $*" >&2
    exit 1
}

command -v "$python" >/dev/null || stop "'$python' is not installed: name one with EXPORT_PYTHON=..."
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
case $version in
3.11 | 3.12) ;;
*) stop "the clients of make test-serving need Python 3.11 or 3.12, this is $version: name one with EXPORT_PYTHON=..." ;;
esac

wanted=$({ echo "$version $(command -v "$python")"; cat "$file" "$0"; } | sha256sum | cut -c1-64)
[ -x "$venv/bin/python" ] && [ "$(cat "$venv/.installed" 2>/dev/null)" = "$wanted" ] && exit 0

if [ -e "$venv" ]; then
    [ -e "$venv/pyvenv.cfg" ] || stop "$venv is not a virtual environment: move it away and run again"
    rm -rf "$venv"
fi
echo "policy_runner: installing $2 into $venv (once; Python $version)"
"$python" -m venv "$venv" || stop "no virtual environment could be made in $venv"
"$venv/bin/python" -m pip --disable-pip-version-check install --progress-bar off --no-deps -r "$file" \
    >"$venv/pip.log" 2>&1 || { tail -n 25 "$venv/pip.log" >&2; stop "pip failed (above: the end of $venv/pip.log)"; }
echo "$wanted" >"$venv/.installed"
