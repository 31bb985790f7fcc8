#!/usr/bin/env bash
# No file of the project names the host of a package registry: where packages come
# from is the machine's own setting. Which hosts these are is asked of the machine
# (pip, apt, go, npm), so this file does not name them either; a client that is not
# here is not asked.
set -euo pipefail
cd "$(dirname "$0")/.."
have() { command -v "$1" >/dev/null; }

urls() {
  if have python3; then
    # pip's own defaults, as its source has them, and this machine's settings.
    python3 -c 'from pip._internal.models.index import PyPI as p; print(p.url, "https://" + p.file_storage_domain)' 2>/dev/null || true
    python3 -m pip config list 2>/dev/null || true
  fi
  if have go; then
    go env GOPROXY GOSUMDB
    (unset GOPROXY GOSUMDB && GOENV=off go env GOPROXY GOSUMDB)
  fi
  if have npm; then
    npm config get registry 2>/dev/null || true
    (cd / && env -i PATH="$PATH" HOME=/nonexistent npm config get registry 2>/dev/null) || true
  fi
  grep -hEv '^[[:space:]]*#' /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null || true
  env | grep -E '^(PIP|UV|GO|NPM_CONFIG|npm_config)_?[A-Za-z_]*=' || true
}

# hosts prints the hosts of the URLs, one a line; GOSUMDB is a host without a URL.
hosts() {
  urls | grep -oE '([a-z]+://[^[:space:]"'\'',|]+|^[a-z0-9.-]+\.[a-z]+$)' | sed -E 's#^[a-z]+://##; s#^[^/@]*@##; s#[/:?].*##' |
    grep -F . | grep -vE '^(localhost|127\.[0-9.]+)$' | sort -u
}

found=0 count=0
while read -r host; do
  count=$((count + 1))
  # Files that are tracked, and those that would be with the next commit.
  if git grep -n -I -i -F --untracked -e "$host" -- . | cut -c1-160; then
    found=1
  fi
done < <(hosts)
[ "$count" -gt 0 ] || { echo "hosts: FAILED: found out no registry's host" >&2; exit 1; }
[ "$found" -eq 0 ] || { echo "hosts: FAILED: these lines name the host of a package registry" >&2; exit 1; }
echo "hosts: none of the $count hosts of package registries is named in the project"
