#!/bin/sh
# Tests the server with real clients: the libraries of GraphQL frontends, and the Playground in a headless Chromium.
#
#   EMPORIUM_URL    the server to test; without it one is built and started, with a database of its own, and stopped
#   CHROMIUM_PATH   the browser; without it Debian's, which is installed if it is missing
set -eu
cd "$(dirname "$0")"

if [ -z "${CHROMIUM_PATH:-}" ]; then
	CHROMIUM_PATH=/usr/bin/chromium
	if [ ! -x "$CHROMIUM_PATH" ]; then
		as_root=
		[ "$(id -u)" -eq 0 ] || as_root=sudo
		echo "Chromium is missing: installing it with apt-get"
		$as_root apt-get update
		$as_root apt-get install -y --no-install-recommends chromium
	fi
fi
export CHROMIUM_PATH

npm ci --no-fund --no-audit --prefer-offline
npm test --silent
