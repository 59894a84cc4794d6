#!/bin/sh
# Writes the authority and each service's certificate into that service's own volume. Does nothing the second time.
set -eu
cd /credentials
xylem() { node /opt/xylem/main.mjs "$@"; }

if [ ! -e authority/ready ]; then
  xylem pki init --dir authority
  xylem pki issue registry registry-1 --dir authority --out registry-1
  for proxy in p1 p2 p3; do xylem pki issue proxy "$proxy" --dir authority --out "$proxy"; done
  for agent in berlin-a berlin-b; do xylem pki issue agent "berlin/$agent" --dir authority --out "$agent"; done
  xylem pki issue agent tokyo/tokyo-a --dir authority --out tokyo-a
  xylem pki issue user demo --dir authority --out user
  for volume in registry-1 p1 p2 p3 berlin-a berlin-b tokyo-a; do chown -R 10001:10001 "$volume"; done

  ssh-keygen -q -t ed25519 -N '' -C demo -f user-ssh/id_ed25519
  for node in berlin-web tokyo-db; do
    ssh-keygen -q -t ed25519 -N '' -C "$node" -f "$node-ssh/host_key"
    cp user-ssh/id_ed25519.pub "$node-ssh/authorized_keys"
    printf '*.%s %s\n' "${node%%-*}" "$(cut -d' ' -f1,2 "$node-ssh/host_key.pub")" >> user-ssh/known_hosts
  done
  touch authority/ready
fi
echo 'credentials are ready'
