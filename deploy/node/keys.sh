#!/bin/sh
# Makes the demo user's SSH key and the nodes' host keys, each into the volume of its owner. Does nothing the second time.
set -eu
cd /keys
[ -e user/known_hosts ] && exit 0
rm -f ./*/*
ssh-keygen -q -t ed25519 -N '' -C demo -f user/id_ed25519
for node in berlin-web tokyo-db; do
  ssh-keygen -q -t ed25519 -N '' -C "$node" -f "$node/host_key"
  cp user/id_ed25519.pub "$node/authorized_keys"
  printf '*.%s %s\n' "${node%%-*}" "$(cut -d' ' -f1,2 "$node/host_key.pub")" >> known_hosts
done
mv known_hosts user/known_hosts
