#!/bin/sh
# fetch_wgpu.sh - puts the WebGPU library wgpu-native and its headers into build/wgpu, out of the Python wheel that carries them.
#
# Pinned by version and by SHA-256. Does nothing where they are there, or an installed one is to be used (RUSTY_WGPU_DIR, pkg-config).
# Without pip, network or a wheel for this machine it says so and ends well: all but the GPU works without the library.
# --there only tells, by its exit status, whether there is nothing left to do.
set -u
wheel=wgpu==0.32.0 # wgpu-native 29.0.1.1, the version src/device/_wgpu.c knows
mode=${1:-fetch}
out=$(dirname "$0")/../build/wgpu
. "$(dirname "$0")/wheel.sh"

[ -z "${RUSTY_WGPU_DIR:-}" ] || exit 0
command -v pkg-config > /dev/null && pkg-config --exists wgpu-native && exit 0

without() {
    [ "$mode" = --there ] && exit 0
    echo "no GPU library: $1; all but --device webgpu works without it"
    exit 0
}

case "$(uname -s) $(uname -m)" in
"Linux x86_64") platform=manylinux_2_28_x86_64 sum=6499a31b5a29a10b4f1089fea4a0806411f42605fa86b6c0b543a07ca0de8568 ;;
"Linux aarch64") platform=manylinux_2_28_aarch64 sum=00454ba1bc794d38c8365f4ad29f381b88ce0a7f115133bfaa6f1dfad7eb2764 ;;
"Darwin x86_64") platform=macosx_10_9_x86_64 sum=cfd3967616a3c42e2b7a234407df38668c697f5aa505d56e0814d647b6746302 ;;
"Darwin arm64") platform=macosx_11_0_arm64 sum=6c3f654ea01ab2de8a2903354ced02a3c6ef161d0fba1aa4fea60aa86d021908 ;;
MINGW*" x86_64" | MSYS*" x86_64" | CYGWIN*" x86_64") platform=win_amd64 sum=493c8a0425c7d3cc728a2489bce40d1a016d800306e59763ff1b21e176e66323 ;;
MINGW*" aarch64" | MSYS*" aarch64") platform=win_arm64 sum=cb0414107825bd94538220cf3f329c83697b99b8e39c6e16e4e6726e427de75c ;;
*) without "wgpu-native comes ready-made for Linux, macOS and Windows on x86_64 and arm64, not for $(uname -s) $(uname -m)" ;;
esac
case $platform in
manylinux*) library=libwgpu_native.so carried=libwgpu_native-release.so ;;
macosx*) library=libwgpu_native.dylib carried=libwgpu_native-release.dylib ;;
*) library=wgpu_native.dll carried=wgpu_native-release.dll ;;
esac

[ -f "$out/$library" ] && [ -f "$out/webgpu.h" ] && [ -f "$out/wgpu.h" ] && [ "$(cat "$out/wheel" 2> /dev/null)" = "$wheel $sum" ] && exit 0
if [ "$platform" != "${platform#manylinux}" ] && ldd --version 2>&1 | grep -qi musl; then
    without "wgpu-native comes ready-made for glibc, not for musl"
fi
[ "$mode" = --there ] && exit 1

mkdir -p "$(dirname "$out")" || exit 1
work=$(mktemp -d "$out.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
echo "fetching the WebGPU library with pip: $wheel for $platform"
wheel_fetch $wheel $sum $platform "$work" || without "$why"
mkdir "$work/wgpu" || exit 1
from=$work/all/wgpu/resources
cp "$from/webgpu.h" "$from/wgpu.h" "$work/wgpu/" && cp "$from/$carried" "$work/wgpu/$library" || exit 1
for licence in "$work"/all/wgpu-*.dist-info/licenses/LICENSE; do [ -f "$licence" ] && cp "$licence" "$work/wgpu/"; done
echo "$wheel $sum" > "$work/wgpu/wheel"
rm -rf "$out" && mv "$work/wgpu" "$out"
