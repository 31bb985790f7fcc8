#!/usr/bin/env bash
# Two builds in two folders, under two umasks, by two users, each with a cache of
# its own, give one digest.
. "$(dirname "$0")/setup.sh"
need python3
is_root || skip "building as another user needs root"

step "as root, umask 022"
(umask 022 && sample "$work/one")
expect 0 "$boyabuild" build -t boyacky/web-app:1.0 "$work/one"
first=$(cut -d@ -f2 "$work/stdout")

step "as an ordinary user, umask 077, in another folder, with an empty cache"
make_user
install -d -o "$user" -m 700 "$work/another"
(umask 077 && sample "$work/another/folder")
touch -d 2001-02-03 "$work/another/folder/app/"*.py
chmod 755 "$work/another/folder/app/store.py" # and back: modes are content
chmod 600 "$work/another/folder/app/store.py"
chown -R "$user:" "$work/another"
expect 0 as_user env BOYABUILD_CACHE="$work/user/cache" TZ=Asia/Tokyo LC_ALL=C \
  sh -c 'umask 077 && exec "$@"' sh "$boyabuild" build -t boyacky/web-app:1.0 "$work/another/folder"
second=$(cut -d@ -f2 "$work/stdout")
same "$second" "$first" "digest of the second build"

step "as root again, with --no-cache"
expect 0 "$boyabuild" build -t boyacky/web-app:1.0 --no-cache "$work/one"
same "$(cut -d@ -f2 "$work/stdout")" "$first" "digest of the third build"

step "and another digest when a file of the app is another"
echo >>"$work/one/app/static/style.css"
expect 0 "$boyabuild" build -t boyacky/web-app:1.0 "$work/one"
[ "$(cut -d@ -f2 "$work/stdout")" != "$first" ] || die "a changed app has the digest of the old one"
step "ok: $first"
