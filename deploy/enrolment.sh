#!/bin/sh
# Hands join tokens to the services of docker-compose.yml, and the first password to the demo's user.
#
# Each service's token file is a named pipe on a volume that only it and this container see. Opening it for writing waits
# until the service opens it for reading, which it does at its first start, and when its certificate has ended because it was
# down for too long. So a token is made when it is wanted, is never on a disk, and is used at once.
set -eu
umask 077
trap '' PIPE

# Asks until the registry answers: the service waits at the other end of its pipe meanwhile. One that went away is asked for no more.
token() {
  until token=$(xylem tokens add "$@" 2>"/tmp/$service.reason"); do
    echo "no token for $service yet: $(cat "/tmp/$service.reason")" >&2
    sleep 1
  done
  printf '%s\n' "$token" 2>/dev/null || true
}

# hand_out <service> <what the token is for>...
hand_out() {
  service=$1 && shift
  pipe=/tokens/$service/token
  [ -p "$pipe" ] || { rm -f "$pipe" && mkfifo -m 600 "$pipe"; }
  while :; do
    token "$@" --name "$service" >"$pipe"
    echo "$service has a token"
    # The reader closes its end before the next one can be meant for it.
    sleep 1
  done
}

for proxy in p1 p2 p3; do hand_out "$proxy" --role proxy & done
for agent in berlin-a berlin-b; do hand_out "$agent" --leaf berlin & done
hand_out tokyo-a --leaf tokyo &

# The pin, which `users add` prints, is written last: it says that the password is good.
if [ ! -e /user/pin ]; then
  head -c 24 /dev/urandom | base64 >/user/password
  until xylem users add demo --replace --password-file /user/password >/tmp/added; do sleep 1; done
  sed -n 's/.*--pin \(sha256:[0-9a-f]*\).*/\1/p' /tmp/added >/user/pin
fi
echo 'enrolment is ready'
touch /tmp/ready
trap 'trap "" TERM INT; kill 0; exit 0' TERM INT
wait
