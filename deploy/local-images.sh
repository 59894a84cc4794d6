#!/bin/sh
# Base images for docker-compose.yml where no image registry can be reached: made from Debian's packages by debootstrap and
# `docker import`, Node and npm from the npm registry. Needs root, debootstrap, docker, npm.
#
#   sh deploy/local-images.sh && docker-compose --env-file deploy/local-images.env up --build -d
#
# Jaeger is not in Debian: a small OTLP receiver stands in for it (GET http://localhost:16686/spans).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
suite=${DEBIAN_SUITE:-bookworm}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

for tool in debootstrap docker npm; do
  command -v "$tool" >/dev/null || { echo "local-images: '$tool' is needed: apt-get install debootstrap docker.io npm" >&2; exit 1; }
done
exists() { docker image inspect "$1" >/dev/null 2>&1; }

if ! exists xylem-base/debian; then
  echo "local-images: Debian $suite by debootstrap (about a minute)"
  debootstrap --variant=minbase --include=ca-certificates "$suite" "$work/root" >"$work/debootstrap.log" 2>&1 || { tail -5 "$work/debootstrap.log" >&2; exit 1; }
  # The host's own trust store goes along, for hosts that reach the npm registry through a proxy of their own.
  cp -L /etc/ssl/certs/ca-certificates.crt "$work/root/etc/ssl/certs/ca-certificates.crt"
  rm -rf "$work/root/var/cache/apt/archives/"*.deb
  tar -C "$work/root" -c . | docker import -c 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' -c 'CMD ["bash"]' - xylem-base/debian >/dev/null
fi

if ! exists xylem-base/node; then
  echo 'local-images: Node 24 and npm from the npm registry'
  mkdir -p "$work/node/bin" "$work/node/lib"
  case $(uname -m) in aarch64) arch=arm64 ;; *) arch=x64 ;; esac
  npm install --prefix "$work/fetch" --silent --no-audit --no-fund "node-linux-$arch@24" npm@11
  cp "$work/fetch/node_modules/node-linux-$arch/bin/node" "$work/node/bin/node"
  cp -R "$work/fetch/node_modules/npm" "$work/node/lib/npm"
  printf '#!/bin/sh\nexec node /usr/local/lib/npm/bin/npm-cli.js "$@"\n' >"$work/node/bin/npm"
  chmod 755 "$work/node/bin/npm"
  cat >"$work/node/Dockerfile" <<'DOCKER'
FROM xylem-base/debian
COPY bin /usr/local/bin
COPY lib /usr/local/lib
ENV NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt
DOCKER
  docker build -q -t xylem-base/node "$work/node" >/dev/null
fi

for image in haproxy:haproxy etcd:etcd-server; do
  name=${image%%:*} package=${image#*:}
  exists "xylem-base/$name" && continue
  echo "local-images: $name from Debian's $package"
  printf 'FROM xylem-base/debian\nRUN apt-get update && apt-get install -y --no-install-recommends %s && rm -rf /var/lib/apt/lists/*\n' "$package" |
    docker build -q -t "xylem-base/$name" - >/dev/null
done

if ! exists xylem-base/otlp; then
  echo 'local-images: an OTLP receiver in the place of Jaeger'
  mkdir "$work/otlp"
  cp "$here/otlp-receiver.mjs" "$work/otlp/"
  printf 'FROM xylem-base/node\nCOPY otlp-receiver.mjs /\nCMD ["node", "/otlp-receiver.mjs"]\n' >"$work/otlp/Dockerfile"
  docker build -q -t xylem-base/otlp "$work/otlp" >/dev/null
fi
echo 'local-images: ready'
