#!/usr/bin/env bash
# Wheel to layer, beside `uv pip install` of the same wheels into a folder, in one
# run: uv has then still to make, compress and hash a layer of what it wrote.
#
#   bench/wheels.sh FOLDER-OF-WHEELS [RUNS]
#
# All wheels must be for this machine and its python3 (or $PYTHON). uv is taken
# from $UV or the path; it runs offline, with an empty cache and with a warm one.
# Times are medians; CPU is user and system time.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(cd "${1:?a folder of wheels}" && pwd)
runs=${2:-5}
uv=${UV:-uv}
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export UV_OFFLINE=1 UV_NO_PROGRESS=1

go build -o "$work/wheels" ./bench/wheels
cat "$folder"/*.whl >/dev/null # into the page cache

ours() { "$work/wheels" "$@" "$folder"/*.whl >"$work/said"; }
install() { "$uv" pip install --quiet --no-deps --no-index --python "$python" --cache-dir "$work/cache" --target "$work/target" "$folder"/*.whl; }

ways=("layers, one a wheel" "layers, two at a time" "layers, into files" "layers, recompressed" "uv, empty cache" "uv, warm cache")
prepare() { # WAY: what is not timed
  rm -rf "$work/target" "$work/out"
  mkdir "$work/out"
  case $1 in "uv, empty cache") rm -rf "$work/cache" ;; esac
}
perform() {
  case $1 in
    "layers, one a wheel") ours ;;
    "layers, two at a time") ours -parallel 2 ;;
    "layers, into files") ours -out "$work/out" ;;
    "layers, recompressed") ours -recompress ;;
    uv,*) install ;;
  esac
}

for ((run = 0; run < runs; run++)); do
  for way in "${ways[@]}"; do
    prepare "$way"
    TIMEFORMAT='%R %U %S'
    { time perform "$way" 2>"$work/error" >&2 || { cat "$work/error" >&3; exit 1; }; } 3>&2 2>"$work/time"
    echo "$way|$(awk '{ print $1 "|" $2 + $3 }' "$work/time")" >>"$work/times"
  done
done

count=$(ls "$folder"/*.whl | wc -l)
bytes=$(cat "$folder"/*.whl | wc -c)
tree=$(du -sb --apparent-size "$work/target" | cut -f1)
echo "$count wheels, $((bytes / 1000000)) MB, $((tree / 1000000)) MB installed; $(nproc) processors, $("$uv" --version | cut -d' ' -f1,2), $(go version | cut -d' ' -f3); load $(cut -d' ' -f1 /proc/loadavg)"
middle() { grep -F "$1|" "$work/times" | cut -d'|' -f"$2" | sort -n | sed -n "$(((runs + 1) / 2))p"; }
first=$(middle "${ways[0]}" 2)
printf '%-24s %9s %9s %8s\n' "" "wall s" "CPU s" "ratio"
for way in "${ways[@]}"; do
  wall=$(middle "$way" 2)
  printf '%-24s %9.2f %9.2f %8s\n' "$way" "$wall" "$(middle "$way" 3)" "$(awk -v a="$wall" -v b="$first" 'BEGIN { printf "%.2f", a / b }')"
done
