#!/bin/sh
# A machine with a public address of its own. There is nothing but the public network: no way out to the real one.
set -eu
ip route del default 2>/dev/null || true
nft -f /box/watch.nft
exec sleep infinity
