#!/bin/sh
# A machine at home; everything goes through the router. Usage: home.sh ROUTER
set -eu
ip route replace default via "$1"
exec sleep infinity
