#!/bin/sh
# sshd on 22 (keys only) and a web page on 80; PID 1 is sshd.
set -eu
install -m 600 /etc/demo-node/host_key /etc/ssh/ssh_host_key
install -d -m 700 -o demo -g demo /home/demo/.ssh
install -m 600 -o demo -g demo /etc/demo-node/authorized_keys /home/demo/.ssh/authorized_keys
mkdir -p /srv/www
echo "Hello from $(hostname)" > /srv/www/index.html
busybox httpd -p 80 -h /srv/www
exec /usr/sbin/sshd -D -e -h /etc/ssh/ssh_host_key -o PasswordAuthentication=no -o PermitRootLogin=no
