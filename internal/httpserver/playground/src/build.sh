#!/bin/sh
# Rebuilds ../dist from this directory with the versions that package-lock.json pins. Needs node (20 or later) and npm.
set -eu
cd "$(dirname "$0")"
npm ci --no-fund --no-audit
npm run --silent build
