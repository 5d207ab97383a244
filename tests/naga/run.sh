#!/bin/sh
# run.sh DIR - validates every .wgsl of DIR and translates it to SPIR-V, MSL and HLSL: kernels must compile for chips that we do not have.
#
# Says for each text that fails which language refused it and why. Exit status 0: all pass; 1: some do not, or there are none;
# 77: there is no naga (tools/naga.sh).
set -u
dir=${1:?usage: tests/naga/run.sh DIR}
naga=$("$(dirname "$0")/../../tools/naga.sh") || exit $?
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

# Versions of the three languages that have subgroups.
refused() {
    echo "$1 $2:"
    sed 's/^/    /' "$work/log" | head -n 20
}

texts=0 wrong=0
for text in "$dir"/*.wgsl; do
    [ -f "$text" ] || continue
    texts=$((texts + 1))
    "$naga" --spirv-version 1.3 --metal-version 2.4 --shader-model 60 "$text" "$work/k.spv" "$work/k.metal" "$work/k.hlsl" > "$work/log" 2>&1 && continue
    wrong=$((wrong + 1))
    if ! "$naga" "$text" > "$work/log" 2>&1; then
        refused "$text" "is no valid WGSL"
        continue
    fi
    "$naga" --spirv-version 1.3 "$text" "$work/k.spv" > "$work/log" 2>&1 || refused "$text" "does not become SPIR-V"
    "$naga" --metal-version 2.4 "$text" "$work/k.metal" > "$work/log" 2>&1 || refused "$text" "does not become MSL"
    "$naga" --shader-model 60 "$text" "$work/k.hlsl" > "$work/log" 2>&1 || refused "$text" "does not become HLSL"
done
echo "$texts kernel texts, $wrong refused"
[ "$texts" -gt 0 ] && [ "$wrong" = 0 ]
