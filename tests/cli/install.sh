#!/usr/bin/env bash
# make install into a staging directory, and the README's ten lines of C against what it installed.
. "$(dirname "$0")/tap.sh"
cd "$top" || exit 1
if [ "${BUILD:-build}" != build ]; then skip "make install" "only with the ordinary build"; finish; exit; fi
make -s install DESTDIR="$dir/stage" PREFIX=/opt/gyeol >/dev/null && ok "make install" || not_ok "make install"
for f in bin/gyeol lib/libgyeol.a lib/libgyeol.so lib/libgyeol.so.0 include/gyeol.h lib/pkgconfig/gyeol.pc share/man/man1/gyeol.1 \
    share/bash-completion/completions/gyeol; do
    [ -e "$dir/stage/opt/gyeol/$f" ] && ok "installs $f" || not_ok "installs $f"
done
awk '/^```c$/ { on = 1; next } /^```$/ { on = 0 } on' README.md >"$dir/me.c"
export PKG_CONFIG_PATH="$dir/stage/opt/gyeol/lib/pkgconfig" PKG_CONFIG_SYSROOT_DIR="$dir/stage"
# shellcheck disable=SC2046
if cc -Wall -Wextra -Werror "$dir/me.c" $(pkg-config --cflags --libs gyeol) -o "$dir/me" 2>"$dir/err"; then
    ok "the README's program compiles with pkg-config"
else not_ok "the README's program compiles with pkg-config" "$(cat "$dir/err")"; fi
like "... and judges" "$(LD_LIBRARY_PATH="$dir/stage/opt/gyeol/lib" "$dir/me")" '^E/I \+1, up 0\.[0-9]+: .*올렸습니다\.$'
# shellcheck disable=SC2046
if cc "$dir/me.c" $(pkg-config --cflags gyeol) "$dir/stage/opt/gyeol/lib/libgyeol.a" $(pkg-config --libs $(pkg-config --print-requires-private gyeol)) -fopenmp -lm -o "$dir/me-static" 2>"$dir/err"; then
    ok "... and links statically"
else not_ok "... and links statically" "$(cat "$dir/err")"; fi
is "the shared library exports the public API alone" "$(nm -D --defined-only build/libgyeol.so | awk '{ print $3 }' | sort | tr '\n' ' ')" \
    "gyeol_close gyeol_judge gyeol_open gyeol_verdict_clear gyeol_version "
make -s install DESTDIR="$dir/the stage" PREFIX=/usr >/dev/null && [ -x "$dir/the stage/usr/bin/gyeol" ] && ok "DESTDIR with a space" || not_ok "DESTDIR with a space"
make -s uninstall DESTDIR="$dir/stage" PREFIX=/opt/gyeol
is "make uninstall leaves no file" "$(find "$dir/stage" -type f -o -type l | wc -l)" 0
finish
