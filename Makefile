# Makefile - two commands for people: `make demo` and `make check`.  All building is in CMakeLists.txt and CMakePresets.json.
#
#   make demo [TEXT=FILE]   installs what is missing, builds, trains a small model on FILE (default: this project), then lets a real one speak
#   make check [SLOW=1]     everything a change must pass: clang, ThreadSanitizer, AddressSanitizer + UBSan, the release suite
#   make setup              only the packages and the WebGPU library        make clean   removes build/
.PHONY: demo check check-clang check-tsan check-asan check-release setup setup-check clean
.NOTPARALLEL:

jobs := $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
# Looked up when used, for setup may just have installed it; a folder that is configured keeps its generator.
ninja = $(if $(shell command -v ninja),-G Ninja)
build = cmake --preset $(1) $(if $(wildcard build/$(1)/CMakeCache.txt),,$(ninja)) > build/$(1).log || { cat build/$(1).log; exit 1; }; \
        cmake --build --preset $(1) --parallel $(jobs) $(2) -- $$(test -f build/$(1)/build.ninja && echo -k 0 || echo -k)
test = ctest --preset $(1) --parallel $(jobs) --no-tests=error $(if $(SLOW),,-LE slow)

demo: setup
	@mkdir -p build
	@$(call build,release,--target rusty)
	@tools/fetch_model.sh
	@build/release/rusty demo -o build/demo $(if $(TEXT),--text "$(TEXT)") $$(ls build/models/*.gguf 2> /dev/null | sed 's/^/--model /')

# The release suite comes last, so that its summary closes the output.
check: setup-check check-clang check-tsan check-asan check-release

check-clang:
	@mkdir -p build
	@if command -v clang > /dev/null; then $(call build,clang); else echo "clang is not installed: its compile is left out"; fi

check-tsan:
	@mkdir -p build
	@$(call build,tsan,--target thread_tests)
	@$(call test,tsan)

check-asan:
	@mkdir -p build
	@$(call build,asan)
	@$(call test,asan)

check-release:
	@mkdir -p build
	@$(call build,release)
	@$(call test,release)

setup:
	@tools/setup.sh build wgpu

setup-check:
	@tools/setup.sh build wgpu test

clean:
	rm -rf build
