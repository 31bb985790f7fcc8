#!/usr/bin/env bash
# What uv finds for sets of requirements, beside what boyabuild lock finds: the same
# packages in the same versions for each of three targets, or a refusal by both. The
# sets are those of CONFORMANCE_DIR (default ../shared/data), and a few of our own
# where that is not there. With LOCK_ONLY only the sets with these names are taken.
. "$(dirname "$0")/setup.sh"
need python3

sets=${CONFORMANCE_DIR:-$repo/../shared/data}/reqsets
[ -d "$sets" ] || sets=$repo/testdata/conformance/reqsets

step "uv"
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check uv >"$work/uv.log" 2>&1 || die "uv cannot be installed"
export UV_PYTHON_DOWNLOADS=never UV_CACHE_DIR=$work/uv-cache

targets=(
  "linux/amd64 3.12 glibc2.28 x86_64-manylinux_2_28"
  "linux/arm64 3.12 glibc2.28 aarch64-manylinux_2_28"
  "linux/amd64 3.13 musl1.2 x86_64-unknown-linux-musl"
)
# Where both are right and differ, and why; in the form SET|TARGET.
declare -A explained=()

same_sets=0 differences=()
for file in "$sets"/*.json; do
  set_name=$(basename "$file" .json)
  [[ -z "${LOCK_ONLY:-}" || " $LOCK_ONLY " == *" $set_name "* ]] || continue
  json "$file" 'd["requirements"]' >"$work/requirements.in"
  newer=$(json "$file" 'd["exclude_newer"]')
  for target in "${targets[@]}"; do
    read -r platform python libc uv_platform <<<"$target"
    theirs=0 ours=0
    "$work/venv/bin/uv" pip compile "$work/requirements.in" --exclude-newer "$newer" --python-version "$python" --python-platform "$uv_platform" \
      --only-binary :all: --no-header --no-annotate -q >"$work/theirs" 2>"$work/theirs.err" || theirs=1
    "$boyabuild" lock --format requirements --exclude-newer "$newer" --platform "$platform" --python "$python" --libc "$libc" --only-binary \
      "$work/requirements.in" >"$work/ours" 2>"$work/ours.err" || ours=1
    if [ "$theirs" -eq "$ours" ] && diff <(grep -v '^#' "$work/theirs" | sort) <(sort "$work/ours") >"$work/diff"; then
      same_sets=$((same_sets + 1))
    elif [ -n "${explained[$set_name|$platform]:-}" ]; then
      step "$set_name for $target: ${explained[$set_name|$platform]}"
    else
      differences+=("$set_name for $target")
      {
        echo "--- $set_name for $target: uv ended with $theirs, boyabuild with $ours"
        cat "$work/diff"
        tail -n 5 "$work/ours.err"
        tail -n 5 "$work/theirs.err"
      } >>"$work/differences.log"
    fi
  done
done
step "$same_sets the same, ${#differences[@]} differences"
[ ${#differences[@]} -eq 0 ] || die "$(printf '%s; ' "${differences[@]}")"
step ok
