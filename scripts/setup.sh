#!/bin/sh
# setup.sh - install what this machine lacks. Silent when nothing is missing.
#
#   scripts/setup.sh             what building needs
#   scripts/setup.sh --test      ... and what the tests need
#   scripts/setup.sh --lint      ... and what the linters need
#   scripts/setup.sh --html      ... and what the browser test of the HTML report needs
#   scripts/setup.sh --golden    ... and what making golden data anew needs
#   scripts/setup.sh --people    ... and what drawing and training the small model needs
#   scripts/setup.sh --more      ... and what some tests use where it is: NumPy, groff, GNU parallel
#   scripts/setup.sh --cross     ... and a compiler for aarch64, of which `make vectors` reads the code
#   scripts/setup.sh --counts    ... and valgrind, which counts instructions for `make counts`
#   scripts/setup.sh --ulp       ... and MPFR, by which `make ulp` measures
#   scripts/setup.sh --emulated  ... and compilers and an emulator of other machines, for `make bits-everywhere`
#
# CC=NAME         the compiler that will be used (default cc)
# MOLE_YES=1      answer yes to the question asked before sudo is used; CI=true does the same
#
# Only apt-get (Debian, Ubuntu) is run by this script; elsewhere it prints the command to run.
# Status: 0 everything is there, 1 something is missing still.
set -u

want_test=0 want_lint=0 want_html=0 want_golden=0 want_more=0 want_people=0 want_cross=0 want_counts=0
want_ulp=0 want_emulated=0
for option; do
    case $option in
        --test) want_test=1 ;;
        --lint) want_lint=1 ;;
        --html) want_test=1 want_html=1 ;;
        --golden) want_golden=1 ;;
        --people) want_golden=1 want_people=1 ;;
        --more) want_more=1 ;;
        --cross) want_cross=1 ;;
        --counts) want_counts=1 ;;
        --ulp) want_ulp=1 ;;
        --emulated) want_emulated=1 ;;
        -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p;}' "$0"; exit 0 ;;
        *) echo "setup.sh: unknown option $option (try --help)" >&2; exit 2 ;;
    esac
done

compiler=${CC:-cc}
compiler=${compiler%% *}

# What may be needed, and its package in each manager; several are joined by commas.
needs() {
    cat <<'TABLE'
# id         apt                       dnf                  pacman      apk             brew          why
compiler     gcc,libc6-dev             gcc                  gcc         build-base      gcc           C11 compiler with OpenMP
clang        clang,libc6-dev           clang                clang       clang           llvm          second compiler
clang-omp    libomp-dev                libomp-devel         openmp      openmp-dev      libomp        OpenMP for clang
make         make                      make                 make        make            make          build rules
pkg-config   pkg-config                pkgconf-pkg-config   pkgconf     pkgconf         pkg-config    finds the libraries
openblas     libopenblas-dev           openblas-devel       openblas    openblas-dev    openblas      matrix products
libpng       libpng-dev                libpng-devel         libpng      libpng-dev      libpng        pictures
jansson      libjansson-dev            jansson-devel        jansson     jansson-dev     jansson       JSON files
libutf8proc  libutf8proc-dev           utf8proc-devel       libutf8proc utf8proc-dev    utf8proc      Unicode rules of the tokenizer
libzip       libzip-dev                libzip-devel         libzip      libzip-dev      libzip        NumPy .npz files
cmocka       libcmocka-dev             libcmocka-devel      cmocka      cmocka-dev      cmocka        unit tests
clang-tidy   clang-tidy-14             clang-tools-extra    clang       clang-extra-tools llvm        static analysis
clang-format clang-format-14           clang-tools-extra    clang       clang-extra-tools llvm        code layout
shellcheck   shellcheck                ShellCheck           shellcheck  shellcheck      shellcheck    checks of the scripts
chromium     chromium                  chromium             chromium    chromium        chromium      browser, for the HTML report
chromedriver chromium-driver           chromedriver         chromium    chromium-chromedriver chromedriver  steers the browser
python3      python3                   python3              python      python3         python        steers the browser
python       python3,python3-venv      python3              python      python3         python        golden data only
cairo        libcairo2-dev             cairo-devel          cairo       cairo-dev       cairo         drawing of people
python-dev   python3-dev               python3-devel        python      python3-dev     python        builds the binding to Cairo
numpy        python3,python3-numpy     python3-numpy        python-numpy py3-numpy      numpy         tests of the Python packages
groff        groff-base                groff-base           groff       groff           groff         test of the manual page
parallel     parallel                  parallel             parallel    parallel        parallel      test of docs/many-machines.md
cross        gcc-aarch64-linux-gnu,libc6-dev-arm64-cross gcc-aarch64-linux-gnu aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu aarch64-unknown-linux-gnu compiles for aarch64
valgrind     valgrind                  valgrind             valgrind    valgrind        valgrind      counts instructions
mpfr         libmpfr-dev               mpfr-devel           mpfr        mpfr-dev        mpfr          true values of functions
emulator     qemu-user                 qemu-user            qemu-user   qemu            qemu          runs programs of other machines
emulated     gcc-aarch64-linux-gnu,gcc-s390x-linux-gnu,gcc-powerpc64le-linux-gnu,gcc-arm-linux-gnueabihf,gcc-i686-linux-gnu gcc-aarch64-linux-gnu,gcc-s390x-linux-gnu,gcc-powerpc64le-linux-gnu,gcc-arm-linux-gnu aarch64-linux-gnu-gcc s390x-linux-gnu-gcc s390x-elf-gcc compilers for other machines
TABLE
}

has() {
    command -v "$1" >/dev/null 2>&1
}

compiler_works() {
    has "$1" && echo '#include <stdlib.h>' | "$1" -E -x c - >/dev/null 2>&1
}

clang_has_omp() {
    echo '#include <omp.h>' | "$1" -fopenmp -E -x c - >/dev/null 2>&1
}

# Print the ids of what is missing, one per line.
find_missing() {
    has make || echo make
    case ${compiler##*/} in
        clang*) compiler_works "$compiler" || echo clang
                clang_has_omp "$compiler" || echo clang-omp ;;
        *) compiler_works "$compiler" || echo compiler ;;
    esac
    packages="openblas libpng jansson libutf8proc libzip"
    [ $want_test = 0 ] || packages="$packages cmocka"
    # shellcheck disable=SC2086 # $packages is a list of words
    if ! has pkg-config; then
        echo pkg-config
        echo "$packages" # to the package manager, asking again for one it has is free
    elif ! pkg-config --exists $packages 2>/dev/null; then
        for package in $packages; do
            pkg-config --exists "$package" 2>/dev/null || echo "$package"
        done
    fi
    if [ $want_lint = 1 ]; then
        compiler_works clang || echo clang
        clang_has_omp clang || echo clang-omp
        has clang-tidy-14 || has clang-tidy || echo clang-tidy
        has clang-format-14 || has clang-format || echo clang-format
        has shellcheck || echo shellcheck
    fi
    if [ $want_html = 1 ]; then
        has chromium || has chromium-browser || has google-chrome || echo chromium
        has chromedriver || echo chromedriver
        has python3 || echo python3
    fi
    if [ $want_more = 1 ]; then
        python3 -c 'import numpy' 2>/dev/null || /usr/bin/python3 -c 'import numpy' 2>/dev/null || echo numpy
        has groff || has mandoc || echo groff
        has parallel || echo parallel
    fi
    if [ $want_cross = 1 ]; then
        has aarch64-linux-gnu-gcc || echo cross
    fi
    if [ $want_counts = 1 ]; then
        has valgrind || echo valgrind
    fi
    if [ $want_ulp = 1 ]; then
        has pkg-config && pkg-config --exists mpfr || echo mpfr
    fi
    if [ $want_emulated = 1 ]; then
        has qemu-s390x || echo emulator
        has s390x-linux-gnu-gcc && has i686-linux-gnu-gcc && has powerpc64le-linux-gnu-gcc &&
            has arm-linux-gnueabihf-gcc && has aarch64-linux-gnu-gcc || echo emulated
    fi
    if [ $want_golden = 1 ]; then
        python3 -c 'import venv, ensurepip' 2>/dev/null || echo python
    fi
    if [ $want_people = 1 ]; then
        has pkg-config && pkg-config --exists cairo || echo cairo
        python3 -c 'import os, sysconfig as s; os.stat(s.get_path("include") + "/Python.h")' 2>/dev/null ||
            echo python-dev
    fi
}

# column MANAGER < table lines: the packages of the missing ids, each once, on one line.
column() {
    needs | awk -v manager="$1" -v ids="$missing" '
        BEGIN { n = split(ids, id, " "); for (i = 1; i <= n; i++) wanted[id[i]] = 1 }
        /^#/ { for (i = 2; i <= NF; i++) if ($(i) == manager) col = i - 1; next }
        $1 in wanted {
            n = split($col, p, ",")
            for (i = 1; i <= n; i++) if (!seen[p[i]]++) out = out (out == "" ? "" : " ") p[i]
        }
        END { print out }'
}

say_missing() {
    echo "Not found on this machine:" >&2
    needs | awk -v ids="$missing" '
        BEGIN { n = split(ids, id, " "); for (i = 1; i <= n; i++) wanted[id[i]] = 1 }
        $1 in wanted {
            why = $7; for (i = 8; i <= NF; i++) why = why " " $(i)
            printf "  %-14s %s\n", $1, why
        }' >&2
}

give_up() {
    printf 'Nothing was installed: %s\n' "$1" >&2
    printf 'Run this yourself, then try again:\n\n    %s\n\n' "$2" >&2
    exit 1
}

# The linters are pinned to one version, because each version lays code out differently; where a
# release does not carry it, its own is taken.
known_to_apt() {
    for package; do
        if [ -n "$(apt-cache --quiet madison "$package" 2>/dev/null)" ]; then
            echo "$package"
        else
            echo "${package%-14}"
        fi
    done
}

install_with_apt() {
    packages=$(column apt)
    by_hand="sudo apt-get update && sudo apt-get install --no-install-recommends $packages"
    sudo=
    yes=0
    case ${MOLE_YES:-}:${CI:-} in
        1:* | *:true | *:1) yes=1 ;;
    esac
    if [ "$(id -u)" != 0 ]; then
        has sudo || give_up "you are not root, and there is no sudo." \
            "apt-get update && apt-get install --no-install-recommends $packages    (as root)"
        sudo=sudo
        if [ $yes = 1 ]; then
            [ -t 0 ] || sudo="sudo -n"
        elif [ -t 0 ]; then
            printf '\nTo be run: %s\nGo on? [Y/n] ' "$by_hand" >&2
            read -r answer || answer=n
            case $answer in
                '' | y | Y | yes | Yes) ;;
                *) give_up "as you said." "$by_hand" ;;
            esac
        else
            give_up "sudo needs your consent, and there is no terminal to ask on (MOLE_YES=1 gives it)." \
                "$by_hand"
        fi
    fi
    echo "Installing: $packages" >&2
    log=$(mktemp) || exit 1
    # A source that cannot be reached (a third party's, say) need not matter: the installation decides.
    $sudo apt-get -q update >"$log" 2>&1 || echo "apt-get update had trouble; going on" >&2
    # shellcheck disable=SC2046,SC2086 # lists of words
    if ! $sudo env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 \
        install --no-install-recommends $(known_to_apt $packages) >>"$log" 2>&1; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        give_up "apt-get failed (its last words are above)." "$by_hand"
    fi
    rm -f "$log"
}

missing=$(find_missing | tr '\n' ' ')
[ -n "$missing" ] || exit 0
say_missing

case ${compiler##*/} in
    cc | gcc | clang) ;;
    *) has "$compiler" || give_up "CC=$compiler is not a program here." "make CC=cc    (or install $compiler)" ;;
esac

if has apt-get; then
    install_with_apt
elif has dnf; then
    give_up "only apt-get is run by this script." "sudo dnf install $(column dnf)"
elif has pacman; then
    give_up "only apt-get is run by this script." "sudo pacman -S --needed $(column pacman)"
elif has apk; then
    give_up "only apt-get is run by this script." "apk add $(column apk)"
elif has brew; then
    give_up "only apt-get is run by this script." "brew install $(column brew)"
else
    give_up "this system's package manager is not known here." \
        "(install the development files of) $missing"
fi

missing=$(find_missing | tr '\n' ' ')
[ -n "$missing" ] || exit 0
say_missing
echo "The packages went in, but these are still not found. Is pkg-config looking elsewhere?" >&2
echo "PKG_CONFIG_PATH=${PKG_CONFIG_PATH:-} PKG_CONFIG_LIBDIR=${PKG_CONFIG_LIBDIR:-}" >&2
exit 1
