#!/bin/sh
# setup.sh - installs the packages that building (build), GPUs (wgpu) and testing (test) need, through the system's package manager.
#
# Stage wgpu also fetches the WebGPU library into build/wgpu (fetch_wgpu.sh).
# Says what is missing and why before it installs anything; does nothing where all is there. Works as root or with sudo.
# Required packages that cannot be installed are an error; optional ones a word.
set -u
stages=${*:-build}

if command -v apt-get > /dev/null; then manager=apt
elif command -v dnf > /dev/null; then manager=dnf
elif command -v pacman > /dev/null; then manager=pacman
elif command -v zypper > /dev/null; then manager=zypper
elif command -v brew > /dev/null; then manager=brew
else manager=none
fi

required=
optional=
lacking=

# The package's name of this manager, out of "apt=... dnf=... pacman=... zypper=... brew=..."; "-" where there is none.
pick() {
    for pair in $1; do
        case $pair in "$manager="*) echo "${pair#*=}"; return ;; esac
    done
}

# missing need|want WHAT WHY NAMES: notes a package and says so.
missing() {
    name=$(pick "$4")
    echo "missing: $2 ($3)"
    if [ -z "$name" ] || [ "$name" = - ]; then
        [ "$1" = need ] && lacking="$lacking $2"
    elif [ "$1" = need ]; then
        required="$required $name"
    else
        optional="$optional $name"
    fi
}

program() { command -v "$1" > /dev/null 2>&1; }
# A library by pkg-config, or by its header where pkg-config is not there yet.
library() {
    if program pkg-config; then pkg-config --exists "$1"; else
        for root in /usr/include /usr/local/include /opt/homebrew/include; do [ -f "$root/$2" ] && return 0; done
        return 1
    fi
}
cmake_is_new() {
    program cmake || return 1
    version=$(cmake --version | sed -n '1s/[^0-9]*\([0-9]*\)\.\([0-9]*\).*/\1 \2/p')
    [ "${version% *}" -gt 3 ] || { [ "${version% *}" -eq 3 ] && [ "${version#* }" -ge 21 ]; }
}

# A shared library that is loaded by name, such as libvulkan.so.1.
loadable() {
    for root in /usr/lib /usr/lib64 /usr/local/lib /lib; do
        for found in "$root/$1" "$root"/*-linux-*/"$1"; do [ -e "$found" ] && return 0; done
    done
    return 1
}
software_vulkan() {
    for root in /usr/share /usr/local/share /etc; do
        for found in "$root"/vulkan/icd.d/lvp_icd*.json; do [ -e "$found" ] && return 0; done
    done
    return 1
}
fetch=

for stage in $stages; do
    case $stage in
    build)
        program cc || program gcc || program clang ||
            missing need "C compiler" "compiles everything" "apt=gcc dnf=gcc pacman=gcc zypper=gcc brew=llvm"
        echo '#include <stdio.h>' | cc -E - > /dev/null 2>&1 || ! program cc ||
            missing need "C library headers" "stdio.h and the rest" "apt=libc6-dev dnf=glibc-devel pacman=glibc zypper=glibc-devel brew=-"
        cmake_is_new || missing need "CMake 3.21 or newer" "runs the build" "apt=cmake dnf=cmake pacman=cmake zypper=cmake brew=cmake"
        program make || program ninja ||
            missing need "make" "runs the build" "apt=make dnf=make pacman=make zypper=make brew=make"
        program pkg-config || missing want "pkg-config" "finds libraries" "apt=pkg-config dnf=pkgconf-pkg-config pacman=pkgconf zypper=pkg-config brew=pkg-config"
        library jansson jansson.h || missing need "jansson" "reads JSON: configurations, tokenizers, safetensors" \
            "apt=libjansson-dev dnf=jansson-devel pacman=jansson zypper=libjansson-devel brew=jansson"
        library yaml-0.1 yaml.h || missing want "libyaml" "reads YAML configurations" \
            "apt=libyaml-dev dnf=libyaml-devel pacman=libyaml zypper=libyaml-devel brew=libyaml"
        library libpcre2-8 pcre2.h || missing want "PCRE2" "tokenizers that split by regular expressions" \
            "apt=libpcre2-dev dnf=pcre2-devel pacman=pcre2 zypper=pcre2-devel brew=pcre2"
        library libutf8proc utf8proc.h || missing want "utf8proc" "tokenizers that normalise Unicode" \
            "apt=libutf8proc-dev dnf=utf8proc-devel pacman=libutf8proc zypper=utf8proc-devel brew=utf8proc"
        library libcurl curl/curl.h || missing want "libcurl" "downloads models (rusty pull)" \
            "apt=libcurl4-openssl-dev dnf=libcurl-devel pacman=curl zypper=libcurl-devel brew=curl"
        program ninja || missing want "ninja" "faster builds" "apt=ninja-build dnf=ninja-build pacman=ninja zypper=ninja brew=ninja"
        program ccache || missing want "ccache" "faster second builds" "apt=ccache dnf=ccache pacman=ccache zypper=ccache brew=ccache"
        ;;
    wgpu)
        fetch=$(dirname "$0")/fetch_wgpu.sh
        if ! "$fetch" --there; then
            python3 -m pip --version > /dev/null 2>&1 || program pip3 || program pip ||
                missing want "pip" "fetches the WebGPU library, for GPUs" "apt=python3-pip dnf=python3-pip pacman=python-pip zypper=python3-pip brew=python"
        fi
        [ "$(uname -s)" != Linux ] || loadable libvulkan.so.1 ||
            missing want "the Vulkan loader" "finds GPUs" "apt=libvulkan1 dnf=vulkan-loader pacman=vulkan-icd-loader zypper=libvulkan1 brew=-"
        ;;
    test)
        [ "$(uname -s)" != Linux ] || software_vulkan ||
            missing want "the software Vulkan driver" "tests the GPU kernels without a GPU" \
                "apt=mesa-vulkan-drivers dnf=mesa-vulkan-drivers pacman=vulkan-swrast zypper=libvulkan_lvp brew=-"
        library cmocka cmocka.h || missing want "cmocka" "unit tests" \
            "apt=libcmocka-dev dnf=libcmocka-devel pacman=cmocka zypper=libcmocka-devel brew=cmocka"
        ;;
    *) echo "usage: tools/setup.sh [build] [wgpu] [test]" >&2; exit 2 ;;
    esac
done
if [ -z "$required$optional$lacking" ]; then
    [ -z "$fetch" ] || exec "$fetch"
    exit 0
fi

root=
if [ "$manager" != brew ] && [ "$(id -u)" != 0 ]; then
    if program sudo; then root=sudo; else manager=none; fi
fi

install() {
    [ "$manager" = none ] || echo "installing with $manager: $*"
    case $manager in
    apt) $root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" > /dev/null 2>&1 ||
        { $root apt-get update > /dev/null && $root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" > /dev/null; } ;;
    dnf) $root dnf install -y -q "$@" ;;
    pacman) $root pacman -S --needed --noconfirm --quiet "$@" ;;
    zypper) $root zypper --non-interactive --quiet install "$@" ;;
    brew) brew install --quiet "$@" ;;
    none) echo "no package manager can be used here (apt, dnf, pacman, zypper as root or with sudo; brew)" >&2; return 1 ;;
    esac
}

if [ -n "$lacking" ]; then
    echo "please install by hand:$lacking" >&2
    exit 1
fi
# shellcheck disable=SC2086 # names are separate words
if [ -n "$required" ] && ! install $required; then
    echo "please install by hand:$required" >&2
    exit 1
fi
# If not all at once, then one by one: a package this system does not have must not stop the others.
# shellcheck disable=SC2086
if [ -n "$optional" ] && ! install $optional; then
    [ "$manager" = none ] && optional=
    for name in $optional; do
        install "$name" || echo "goes on without $name"
    done
fi
[ -z "$fetch" ] || exec "$fetch"
exit 0
