#!/bin/sh
# naga.sh - prints the path of naga 30.0.1, the translator inside wgpu; builds it with cargo into build/tools if it is not there.
#
# For tests only: it shows that kernel texts also compile for Metal and DX12. Exit status 77 and a word where it cannot be had.
set -u
version=30.0.1 rust=87 # Rust 1.87
tools=$(cd "$(dirname "$0")/.." && pwd)/build/tools

for naga in "$tools/bin/naga" naga; do
    if [ "$("$naga" --version 2> /dev/null)" = $version ]; then
        echo "$naga"
        exit 0
    fi
done
skip() {
    echo "skipped: naga $version is not here and $1" >&2
    exit 77
}
command -v cargo > /dev/null || skip "cargo, which builds it, is not installed"
found=$(cargo --version | sed -n 's/^cargo \([0-9]*\)\.\([0-9]*\).*/\1 \2/p')
[ "${found% *}" -gt 1 ] 2> /dev/null || [ "${found#* }" -ge $rust ] 2> /dev/null ||
    skip "cargo is too old to build it: $(cargo --version), 1.$rust is needed"
echo "building naga $version with cargo (two minutes, once)" >&2
mkdir -p "$tools"
if ! cargo install --quiet --locked naga-cli --version $version --root "$tools" > "$tools/naga.log" 2>&1; then
    skip "cargo could not build it: $(tail -n 1 "$tools/naga.log")"
fi
echo "$tools/bin/naga"
