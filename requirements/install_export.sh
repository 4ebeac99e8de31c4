#!/usr/bin/env bash
# Makes the virtual environment of `make test-export`, and leaves it alone while it is up to date.
#   requirements/install_export.sh VENV
# torch never enters the environment of `make test`.
set -euo pipefail

venv=$1
python=${PYTHON:-python3}
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")

stop() {
    echo "policy_runner: $*" >&2
    exit 1
}

command -v "$python" >/dev/null || stop "'$python' is not installed: name one with EXPORT_PYTHON=..."
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
[ "$version" = 3.11 ] || [ -n "${ANY_PYTHON:-}" ] ||
    stop "make test-export runs on Python 3.11, this is $version (torch would bring CUDA): name one with EXPORT_PYTHON=..., or set ANY_PYTHON=1"

made_for="$version $(command -v "$python") $root"
wanted=$({ echo "$made_for"; cat "$here/export.txt" "$0" "$root/setup.py"; } | sha256sum | cut -c1-64)
[ -x "$venv/bin/python" ] && [ "$(cat "$venv/.installed-export" 2>/dev/null)" = "$wanted" ] && exit 0

if [ -e "$venv" ] && [ "$(cat "$venv/.made-for" 2>/dev/null)" != "$made_for" ]; then
    [ -e "$venv/pyvenv.cfg" ] || stop "$venv is not a virtual environment: move it away and run again"
    rm -rf "$venv"
fi
echo "policy_runner: installing into $venv for 'test-export' (once; torch and the trainers, Python $version)"
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv" || stop "no virtual environment could be made in $venv"
echo "$made_for" >"$venv/.made-for"
"$venv/bin/python" -m pip --disable-pip-version-check install --progress-bar off -r "$here/export.txt" \
    >"$venv/pip.log" 2>&1 || { tail -n 25 "$venv/pip.log" >&2; stop "pip failed (above: the end of $venv/pip.log)"; }
echo "$wanted" >"$venv/.installed-export"
