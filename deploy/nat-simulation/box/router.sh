#!/bin/sh
# A home router. Usage: router.sh KIND; the kinds are the files in /nat.
set -eu
# Like a leased line: the public network is all there is, and what is for elsewhere goes nowhere.
ip route del default 2>/dev/null || true
name_of() { ip -o -4 addr show to "$1" | { read -r _ name _; echo "$name"; }; }
wan=$(name_of 198.18.0.0/24)
lan=$(name_of 10.213.0.0/16)
nft -D wan="$wan" -D lan="$lan" -f /nat/firewall.nft
nft -D wan="$wan" -D lan="$lan" -f "/nat/$1.nft"
# Some answer what nobody asked for; see README.md.
nft add chain inet watch input "{ policy $WAN_INPUT; }"
exec sleep infinity
