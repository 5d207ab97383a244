#!/bin/sh
# doctor.sh PROGRAM WORK - every kernel text that `rusty doctor` compiles, with all features of the GPU here and with none, must
# also become SPIR-V, MSL and HLSL (run.sh).  77: no GPU, nor a driver in software, or no naga.
set -u
program=${1:?usage: tests/naga/doctor.sh PROGRAM WORK} work=${2:?usage: tests/naga/doctor.sh PROGRAM WORK}
here=$(dirname "$0")
"$here/../../tools/naga.sh" > /dev/null || exit $?
if "$program" devices --json | grep -q '"device":"webgpu","missing"'; then
    echo "skipped: no GPU, nor a driver in software, is here"
    exit 77
fi
rm -rf "$work"
export RUSTY_WEBGPU_DUMP="$work"
# What doctor finds wrong is the matter of other tests; here it only has to come to its end.
"$program" doctor --device webgpu > /dev/null
[ $? -le 1 ] || exit 1
RUSTY_WEBGPU_FEATURES=none "$program" doctor --device webgpu > /dev/null
[ $? -le 1 ] || exit 1
"$here/run.sh" "$work"
