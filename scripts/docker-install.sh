#!/usr/bin/env bash
# Installs a Docker engine on Debian or Ubuntu. Needs root. Does nothing if dockerd is installed.
set -euo pipefail

if command -v dockerd >/dev/null; then
  echo "docker: $(dockerd --version)"
  exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
  echo "docker: no engine here, and this script installs one only as root on Debian or Ubuntu" >&2
  exit 1
fi
echo "docker: installing Debian's docker.io"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends docker.io iptables ca-certificates
dockerd --version
