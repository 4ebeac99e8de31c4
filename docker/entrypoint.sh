#!/usr/bin/env bash
# Sources ROS and becomes `policy-runner`, so that a signal to the container reaches it.
set -eo pipefail
# shellcheck source=/dev/null
. "/opt/ros/${ROS_DISTRO:?is set by the base image}/setup.bash"
exec policy-runner "$@"
