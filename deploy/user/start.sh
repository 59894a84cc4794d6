#!/bin/sh
# Logs the demo's user in where nobody is, as `xylem login` would ask a person to, and runs the command.
set -eu
xylem doctor >/dev/null 2>&1 ||
  xylem login --root balancer:7200 --user demo --pin "$(cat /etc/xylem/login/pin)" --password-file /etc/xylem/login/password >&2
exec "$@"
