#!/bin/sh
# installed.sh - one check of what `make install` made; test_installed.c counts them.
#
#   tests/api/installed.sh CHECK f32|f64 FOLDER
#
# FOLDER is scratch. From the environment, set by `make test`: MOLE_STAGE (the prefix), MOLE_CC (the
# compiler, with the sanitizers' options where they are on), MOLE_MAKE, MOLE_PYTHON.
# Status: 0 well, 77 skipped (the reason is the last line), else wrong (and the reason as well).
set -u

check=$1 type=$2 scratch=$3
stage=${MOLE_STAGE:-}
CC=${MOLE_CC:-cc}
LC_ALL=C
PKG_CONFIG_PATH=$stage/lib/pkgconfig
LD_LIBRARY_PATH=$stage/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
export LC_ALL PKG_CONFIG_PATH LD_LIBRARY_PATH
library=$stage/lib/libmole-$type

skip() {
    echo "$*"
    exit 77
}
wrong() {
    echo "$*"
    exit 1
}
sanitized() {
    case $CC in *-fsanitize*) return 0 ;; esac
    return 1
}

# What mole.h declares, one name a line, sorted.
declared() {
    {
        sed -n 's/^MOLE_API .*[ *]\(mole_[a-z0-9_]*\)(.*/\1/p' ref/api/mole.h
        echo "mole_built_for_$type"
    } | sort
}

# The n-th fenced block of a language in docs/library.md.
block() {
    awk -v fence="\`\`\`$1" -v n="$2" '$0 == fence { at++; on = at == n; next } /^```/ { on = 0 } on' \
        docs/library.md
}

# run_example OPTIONS...: compile the page's program with these, run it, compare with the page.
run_example() {
    block c 1 >"$scratch/example.c"
    block text 1 >"$scratch/expected"
    if [ ! -s "$scratch/example.c" ] || [ ! -s "$scratch/expected" ]; then
        wrong "docs/library.md has no example"
    fi
    # shellcheck disable=SC2086,SC2048 # lists of words
    $CC -Wall -Wextra -Werror -o "$scratch/example" "$scratch/example.c" $* || wrong "does not compile: $*"
    "$scratch/example" >"$scratch/printed" || wrong "status $?"
    diff "$scratch/expected" "$scratch/printed" || wrong "prints something else than docs/library.md says"
}

# The names that a library shows, and no others, are those of the header.
exports_shared() {
    declared >"$scratch/declared"
    [ "$(wc -l <"$scratch/declared")" -gt 50 ] || wrong "mole.h declares hardly anything"
    nm -D --defined-only "$library.so" | awk '{ print $3 }' | grep -v '^_' | sort >"$scratch/shown"
    diff "$scratch/declared" "$scratch/shown" || wrong "$library.so shows other names than mole.h"
}

exports_static() {
    declared >"$scratch/declared"
    nm -g --defined-only "$library.a" | awk 'NF == 3 { print $3 }' | grep -v '^_' | sort >"$scratch/shown"
    diff "$scratch/declared" "$scratch/shown" || wrong "$library.a shows other names than mole.h"
}

soname() {
    version=$(sed -n 's/^#define MOLE_VERSION "\(.*\)"/\1/p' ref/api/mole.h)
    name=libmole-$type.so.${version%%.*}
    readelf -d "$library.so" | grep -q "SONAME.*\[$name\]" || wrong "soname: $(readelf -d "$library.so" | grep SONAME)"
    [ "$(readlink "$library.so")" = "$name" ] || wrong "$library.so -> $(readlink "$library.so")"
    [ "$(readlink "$stage/lib/$name")" = "libmole-$type.so.$version" ] || wrong "$name: wrong link"
    if [ ! -f "$library.so.$version" ] || [ -L "$library.so.$version" ]; then
        wrong "$library.so.$version: no file"
    fi
}

shared() {
    # shellcheck disable=SC2046 # lists of words
    run_example $(pkg-config --cflags --libs "mole-$type")
    readelf -d "$scratch/example" | grep -q "NEEDED.*\[libmole-$type.so.0\]" || wrong "it needs no libmole-$type.so.0"
    ! readelf -d "$scratch/example" | grep -q 'NEEDED.*jansson' || wrong "it names libraries of ours"
}

static() {
    # shellcheck disable=SC2046 # lists of words
    run_example $(pkg-config --cflags "mole-$type") \
        $(pkg-config --static --libs "mole-$type" | sed "s/-lmole-$type/-l:libmole-$type.a/")
    ! readelf -d "$scratch/example" | grep -q 'NEEDED.*libmole' || wrong "it still needs the shared library"
}

# A program that has a `linear` and an `add` of its own keeps them, with the static library too.
no_clash() {
    cat >"$scratch/clash.c" <<'C'
#include <mole.h>
int linear(void); int add(void); int matmul(void); int err_set(void); int silu(void);
int linear(void) { return 1; }
int add(void) { return 1; }
int matmul(void) { return 1; }
int err_set(void) { return 1; }
int silu(void) { return 1; }
int main(void) {
    const mole_real_t x[] = {1, 2}, w[] = {3, 4};
    mole_real_t out[1];
    return mole_linear(out, x, w, 0, 1, 2, 1, MOLE_BLAS, 0) || out[0] != 11 || mole_silu(out, out, 1, 0) ||
           linear() + add() + matmul() + err_set() + silu() != 5;
}
C
    for libs in "-lmole-$type" "-l:libmole-$type.a"; do
        # shellcheck disable=SC2046,SC2086 # lists of words
        $CC -o "$scratch/clash" "$scratch/clash.c" $(pkg-config --cflags "mole-$type") \
            $(pkg-config --static --libs "mole-$type" | sed "s/-lmole-$type/$libs/") || wrong "$libs: names clash"
        "$scratch/clash" || wrong "$libs: status $?"
    done
}

wrong_precision() {
    other=f64
    [ "$type" = f32 ] || other=f32
    block c 1 >"$scratch/example.c"
    # shellcheck disable=SC2046 # lists of words
    if $CC -o "$scratch/mixed" "$scratch/example.c" $(pkg-config --cflags "mole-$type") \
        $(pkg-config --libs "mole-$other") >"$scratch/said" 2>&1; then
        wrong "compiled for $type, it links with $other"
    fi
    grep -q "mole_built_for_$type" "$scratch/said" || wrong "said: $(cat "$scratch/said")"
}

header() {
    echo '#include <mole.h>' >"$scratch/alone.c"
    flags=$(pkg-config --cflags "mole-$type")
    for standard in c99 c11; do
        # shellcheck disable=SC2086 # a list of words
        $CC -std=$standard -Wall -Wextra -Wpedantic -Wstrict-prototypes -Werror $flags -fsyntax-only \
            "$scratch/alone.c" || wrong "$standard"
    done
    if echo 'int main() {}' | $CC -x c++ -fsyntax-only - 2>/dev/null; then
        # shellcheck disable=SC2086 # a list of words
        $CC -x c++ -Wall -Wextra -Werror $flags -fsyntax-only "$scratch/alone.c" || wrong "C++"
    else
        echo "(no C++ compiler here)"
    fi
}

version() {
    version=$(sed -n 's/^#define MOLE_VERSION "\(.*\)"/\1/p' ref/api/mole.h)
    [ "$(pkg-config --modversion "mole-$type")" = "$version" ] || wrong "pkg-config: $(pkg-config --modversion "mole-$type")"
    pkg-config --cflags "mole-$type" | grep -q -- "-I$stage/include" || wrong "no include folder"
    case $type:$(pkg-config --cflags "mole-$type") in
        f64:*-DMOLE_F64*) ;;
        f32:*MOLE_F64*) wrong "f32 defines MOLE_F64" ;;
        f64:*) wrong "f64 does not define MOLE_F64" ;;
    esac
    cmp ref/api/mole.h "$stage/include/mole.h"
}

programs() {
    "$stage/bin/mole" tokenize --model golden/models/sd15-tiny --json "a photo" >"$scratch/said" || wrong "mole: $?"
    grep -q 805 "$scratch/said" || wrong "said: $(cat "$scratch/said")"
    "$stage/bin/mole" verify --precision f64 golden/runs/text-encoder >"$scratch/said" || wrong "$(cat "$scratch/said")"
}

# The page knows every command and option that --help knows, and nothing else by that look.
man() {
    page=$stage/share/man/man1/mole.1
    clean=0
    if command -v mandoc >/dev/null; then
        mandoc -T lint -W warning "$page" | grep -v 'missing date' >"$scratch/lint" && wrong "$(cat "$scratch/lint")"
        clean=1
    fi
    if command -v groff >/dev/null && groff -man -Tutf8 -z "$page" 2>"$scratch/lint"; then
        said=$(groff -man -Tutf8 -ww -z "$page" 2>&1)
        [ -z "$said" ] || wrong "$said"
        clean=1
    fi
    commands=$("$stage/bin/mole" --help | awk '/^usage:/ { on = 1; next } on && /^  [a-z]/ { print $1; s = 1; next } s { exit }')
    [ -n "$commands" ] || wrong "mole --help lists no commands"
    sed -e 's/\\-/-/g' "$page" >"$scratch/plain"
    for command in $commands; do
        grep -q "^\.SS $command - " "$scratch/plain" || wrong "no section on $command"
        sed -n "/^\.SS $command /,/^\.S[SH] /p" "$scratch/plain" >"$scratch/section"
        "$stage/bin/mole" "$command" --help | sed -n 's/^  \(-[a-zA-Z], \)\{0,1\}\(--[a-z0-9-]*\).*/\2/p' |
            sort -u >"$scratch/options"
        [ -s "$scratch/options" ] || wrong "$command --help lists no options"
        sed -n 's/^\.B \(-[a-zA-Z], \)\{0,1\}\(--[a-z0-9-]*\).*/\2/p' "$scratch/section" | sort -u >"$scratch/paged"
        diff "$scratch/options" "$scratch/paged" || wrong "options of $command: --help (<) and page (>) differ"
    done
    grep -q '^\.SH "\{0,1\}EXIT STATUS' "$page" || wrong "no section on the exit status"
    [ $clean = 1 ] || skip "neither mandoc nor groff is here to look at the page"
}

destdir() {
    [ -n "${MOLE_MAKE:-}" ] || skip "run by make test"
    version=$(sed -n 's/^#define MOLE_VERSION "\(.*\)"/\1/p' ref/api/mole.h)
    say() { $MOLE_MAKE "$@" DESTDIR="$scratch/root" PREFIX=/opt/mole LIBDIR=/opt/mole/lib64 >"$scratch/said" 2>&1 ||
        wrong "$1: $(tail -n 3 "$scratch/said")"; }
    say install
    {
        echo bin/mole bin/mole-f64 include/mole.h share/man/man1/mole.1
        for t in f32 f64; do
            echo "lib64/libmole-$t.a lib64/libmole-$t.so lib64/libmole-$t.so.${version%%.*}"
            echo "lib64/libmole-$t.so.$version lib64/pkgconfig/mole-$t.pc"
        done
    } | tr ' ' '\n' | sort >"$scratch/expected"
    (cd "$scratch/root/opt/mole" && find . ! -type d | sed 's|^\./||' | sort) >"$scratch/found"
    diff "$scratch/expected" "$scratch/found" || wrong "installed (>) is not what was expected (<)"
    ! grep -q "$scratch" "$scratch/root/opt/mole/lib64/pkgconfig/"*.pc || wrong "DESTDIR got into a .pc file"
    grep -q '^libdir=/opt/mole/lib64$' "$scratch/root/opt/mole/lib64/pkgconfig/mole-f32.pc" || wrong "libdir"
    touch "$scratch/root/opt/mole/lib64/someone-elses"
    say install # over itself
    say uninstall
    rest=$(find "$scratch/root" ! -type d)
    [ "$rest" = "$scratch/root/opt/mole/lib64/someone-elses" ] || wrong "left: $rest"
}

# python MODULE: a module of tests/mole_ref.
python() {
    ! sanitized || skip "Python is not built with the sanitizers that this library needs"
    for found in ${MOLE_PYTHON:-python3} python3 /usr/bin/python3; do
        "$found" -c 'import numpy' 2>/dev/null && break
        found=''
    done
    [ -n "$found" ] || skip "no Python with NumPy"
    MOLE_LIB=$stage/lib PYTHONPATH=scripts/mole_ref:tests/mole_ref PYTHONDONTWRITEBYTECODE=1 \
        "$found" -m unittest "$1" >"$scratch/said" 2>&1 || wrong "$(tail -n 40 "$scratch/said")"
    grep '^Ran ' "$scratch/said"
}

[ -n "$stage" ] || skip "MOLE_STAGE names no prefix: run by make test"
case $check in
    python-*) python "test_${check#python-}" ;;
    *) "$check" ;;
esac
