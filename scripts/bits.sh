#!/usr/bin/env bash
# bits.sh - the same bits from every compiler, level, number of threads and machine? scripts/bits.py says of what.
#
#   scripts/bits.sh native FOLDER                 gcc and clang at -O0, -O2, -O3 and for this very processor, on 1,
#                                                 2 and 3 threads; and with a C library that knows of no FMA and AVX.
#                                                 LEVELS="-O0": these alone
#   scripts/bits.sh everywhere FOLDER [MACHINE...]  cross compilers and qemu of the distribution, each machine at -O2
#
# Builds go into FOLDER (build/bits). Each program adds a line to FOLDER/native.txt or FOLDER/everywhere.txt, of which
# docs/bits.txt keeps the last. Libraries of other machines are unpacked from the distribution's packages below FOLDER;
# nothing is installed. A compiler, emulator or machine that cannot be had is skipped, which is said. The last line is
# "N passed, N failed, N skipped"; status 1 when one failed.
set -u
kind=${1:?usage: scripts/bits.sh native|everywhere FOLDER [MACHINE...]}
folder=${2:?usage: scripts/bits.sh native|everywhere FOLDER [MACHINE...]}
shift 2
passed=0 failed=0 skipped=0
jobs=${JOBS:-$(nproc)}

skip() {
    skipped=$((skipped + 1))
    echo "SKIP $*"
}

# build OUT MAKE-OPTIONS...: the two programs; prints where they are.
build() {
    local out=$1
    shift
    make --no-print-directory -j "$jobs" BUILD="$out" "$@" programs >"$out.log" 2>&1 || {
        grep -E 'error|Error' "$out.log" | head -n 5 >&2
        return 1
    }
    dirname "$(find "$out" -name mole-f64 -type f | head -n 1)"
}

# check PROGRAMS LABEL OPTIONS...
check() {
    local programs=$1 label=$2 said
    shift 2
    said=$(scripts/bits.py check "$programs" --label "$label" --results "$folder/$kind.txt" "$@")
    grep -v skipped <<<"$said"
    if grep -q ' 0 failed' <<<"$said"; then
        passed=$((passed + 1))
        echo "ok   $label"
    else
        failed=$((failed + 1))
        echo "FAIL $label"
    fi
}

version() { "$@" --version | head -n 1 | grep -oE '[0-9]+\.[0-9]+(\.[0-9]+)?' | head -n 1; }
libc() { echo "glibc $(ldd --version | head -n 1 | grep -oE '[0-9.]+$')"; }

native() {
    local cc level programs levels=(-O0 -O2 -O3 '-O3 -march=native')
    [ -z "${LEVELS:-}" ] || read -ra levels <<<"$LEVELS"
    for cc in gcc clang; do
        command -v $cc >/dev/null || { skip "$cc: not here"; continue; }
        for level in "${levels[@]}"; do
            programs=$(build "$folder/$cc${level// /}" CC=$cc CFLAGS="$level -g0") ||
                { failed=$((failed + 1)); echo "FAIL $cc $level: does not build"; continue; }
            check "$programs" "$cc $(version $cc) $level | $(uname -m) | $(libc)" --threads 1,2,3
        done
    done
    [ -d "$folder/clang-O3/clang" ] || return
    GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX2,-FMA,-AVX512F,-AVX2_Usable,-FMA_Usable,-AVX512F_Usable \
        check "$folder/clang-O3/clang" "clang $(version clang) -O3 | $(uname -m), glibc told of no FMA and AVX | $(libc)"
}

# rows MACHINE: Debian's name, the compiler's prefix, qemu's name, further flags
rows() {
    cat <<'TABLE'
arm64 aarch64-linux-gnu aarch64
s390x s390x-linux-gnu s390x
ppc64el powerpc64le-linux-gnu ppc64le
armhf arm-linux-gnueabihf arm
i386 i686-linux-gnu i386 -msse2 -mfpmath=sse
TABLE
}

# Unpack what the programs need of machine $1 into $2, with lists of packages of its own.
unpack() {
    local machine=$1 root=$2 apt
    [ ! -e "$root/ready" ] || return 0
    mkdir -p "$root/apt/lists/partial" "$root/apt/cache/archives/partial"
    apt=(-q -o APT::Architecture="$machine" -o APT::Architectures="$machine" -o Dir::State="$PWD/$root/apt"
        -o Dir::State::status=/dev/null -o Dir::Cache="$PWD/$root/apt/cache" -o Debug::NoLocking=1
        -o APT::Sandbox::User=root)
    apt-get "${apt[@]}" update # a source that cannot be reached need not matter: what follows decides
    apt-get "${apt[@]}" install -y --download-only --no-install-recommends \
        libc6-dev libgomp1 libopenblas-dev libpng-dev libjansson-dev libutf8proc-dev libzip-dev || return 1
    for package in "$root"/apt/cache/archives/*.deb; do dpkg -x "$package" "$root" || return 1; done
    # Absolute links would lead out of here.
    find "$root" -type l -lname '/*' | while read -r link; do
        ln -sfn "$(realpath -m --relative-to="$(dirname "$link")" "$root$(readlink "$link")")" "$link"
    done
    rm -rf "$root/apt"
    touch "$root/ready"
}

everywhere() {
    local machine prefix emulator flags root libs programs
    while read -r machine prefix emulator flags; do
        [ $# = 0 ] || [[ " $* " = *" $machine "* ]] || continue
        root=$folder/$machine
        command -v "$prefix-gcc" >/dev/null || { skip "$machine: no $prefix-gcc"; continue; }
        command -v "qemu-$emulator" >/dev/null || { skip "$machine: no qemu-$emulator"; continue; }
        mkdir -p "$root"
        unpack "$machine" "$root" >"$root.unpack.log" 2>&1 || { skip "$machine: its libraries cannot be had"; continue; }
        libs=$(cd "$root/usr/lib" && echo *-linux-gnu*)
        programs=$(PKG_CONFIG_SYSROOT_DIR="$PWD/$root" \
            PKG_CONFIG_LIBDIR="$PWD/$root/usr/lib/$libs/pkgconfig:$PWD/$root/usr/lib/$libs/openblas-pthread/pkgconfig" \
            build "$folder/out-$machine" CC="$prefix-gcc --sysroot=$PWD/$root" CFLAGS="-O2 -g0 $flags") ||
            { failed=$((failed + 1)); echo "FAIL $machine: does not build"; continue; }
        check "$programs" "gcc $(version "$prefix-gcc") -O2${flags:+ $flags} | $machine, qemu $(version "qemu-$emulator") | \
glibc $(find "$root" -path '*ld*2.[0-9]*' -name 'ld-*' | head -n 1 | grep -oE '2\.[0-9]+' || libc | cut -d' ' -f2)" \
            --under "qemu-$emulator -L $PWD/$root -E LD_LIBRARY_PATH=/usr/lib/$libs/openblas-pthread" --threads 1
    done < <(rows)
}

mkdir -p "$folder"
rm -f "$folder/$kind.txt"
"$kind" "$@"
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
