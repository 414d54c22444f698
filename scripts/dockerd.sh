#!/usr/bin/env bash
# dockerd.sh start | stop: runs a Docker engine on machines without a service manager that starts one.
# `start` does nothing if an engine is running; `stop` only ends an engine that `start` has started.
set -euo pipefail

state=${XDG_RUNTIME_DIR:-/run}/stonechat-dockerd
pid_file=$state/pid
log=$state/log

answers() { docker info >/dev/null 2>&1; }
ours() { [ -f "$pid_file" ] && [ "$(cat "/proc/$(cat "$pid_file")/comm" 2>/dev/null)" = dockerd ]; }

start() {
  if answers; then
    echo "dockerd: already running"
    return
  fi
  mkdir -p "$state"
  # A killed engine leaves its pid files, and the next one then refuses to start.
  pgrep -x dockerd >/dev/null || rm -f /var/run/docker.pid /run/docker/containerd/containerd.pid
  setsid nohup dockerd >"$log" 2>&1 </dev/null &
  echo $! >"$pid_file"
  for _ in $(seq 240); do
    if answers; then
      echo "dockerd: started (pid $(cat "$pid_file"), log $log)"
      return
    fi
    ours || break
    sleep 0.25
  done
  echo "dockerd: did not start; the end of its log:" >&2
  tail -n 20 "$log" >&2
  return 1
}

stop() {
  ours || return 0
  local pid
  pid=$(cat "$pid_file")
  kill "$pid"
  for _ in $(seq 120); do
    if ! ours; then
      rm -f "$pid_file"
      echo "dockerd: stopped"
      return
    fi
    sleep 0.25
  done
  echo "dockerd: pid $pid did not stop within 30 seconds" >&2
  return 1
}

case ${1:-} in
  start | stop) "$1" ;;
  *)
    echo "usage: dockerd.sh start | stop" >&2
    exit 2
    ;;
esac
