#!/usr/bin/env bash
# run.sh SERVER [ARGUMENT...]: starts the server with JetStream, and prints the folder of its store.
set -euo pipefail

server=$1
shift
for argument in "$@"; do
  case $argument in
    # The arguments or a configuration file set the folder.
    -sd | -sd=* | --sd | --sd=* | -store_dir* | --store_dir* | -c | -c=* | -config* | --config*) exec "$server" -js "$@" ;;
  esac
done
store=$(cd "$(dirname "$0")/.." && pwd)/data
echo "JetStream is on; what it stores stays in $store (ARGS='-sd FOLDER' puts it elsewhere)"
[ -d "$store" ] || mkdir -m 700 "$store"
exec "$server" -js -sd "$store" "$@"
