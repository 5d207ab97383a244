#!/bin/sh
# llama_vulkan.sh - llama.cpp's llama-bench on Vulkan, the peer of `rusty bench lm` on a GPU, into DIR/bin (70 MB, to be carried whole).
#
#     sh llama_vulkan.sh DIR && python3 llama_gguf.py ../shapes/llama_1b.yaml f16 f16.gguf && DIR/bin/llama-bench -m f16.gguf -p 512 -n 64
#
# Takes llama.cpp v0.5.0 as node-llama-cpp 3.22.1 ships it in npm: libraries built with shaders for matrix cores (KHR, NV), integer dot
# products and bf16, which Debian 12's glslc cannot make, and the sources of that release. Only llama-bench itself is compiled here.
set -eu
mkdir -p "$1/bin" && cd "$1"
npm pack --silent node-llama-cpp@3.22.1 @node-llama-cpp/linux-x64-vulkan@3.22.1
for f in *.tgz; do tar xzf "$f" package/llama/gitRelease.bundle 2> /dev/null || tar xzf "$f" package/bins; done
[ -d src ] || git -c advice.detachedHead=false clone -q package/llama/gitRelease.bundle src
cp package/bins/linux-x64-vulkan/lib*.so bin/
c++ -std=c++17 -O2 -DNDEBUG -s -o bin/llama-bench -Isrc/include -Isrc/ggml/include -Isrc/common -Isrc/vendor -Isrc/tools/llama-bench \
    src/tools/llama-bench/llama-bench.cpp src/tools/llama-bench/main.cpp bin/libllama-common.so bin/libllama.vulkan.v0.5.0.so \
    bin/libggml.vulkan.v0.5.0.so bin/libggml-base.so -Wl,-rpath,"\$ORIGIN",--allow-shlib-undefined
bin/llama-bench --list-devices
