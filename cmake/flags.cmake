# flags.cmake - language, warnings, sanitizers, and the instruction set of each file of src/simd by the end of its name.
#
# Owns every compiler flag.  Never -ffast-math: infinities and NaNs are results here.

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
    set(CMAKE_BUILD_TYPE Release CACHE STRING "Release or Debug" FORCE)
endif()
set(CMAKE_C_FLAGS_RELEASE "-O2 -DNDEBUG")

find_program(ccache_program ccache)
mark_as_advanced(ccache_program)
if(ccache_program AND NOT CMAKE_C_COMPILER_LAUNCHER)
    set(CMAKE_C_COMPILER_LAUNCHER ${ccache_program})
endif()

# Warnings are errors with the compilers the tree is known to be clean on; a newer compiler's new warning must not stop a user.
set(werror_default OFF)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU" AND CMAKE_C_COMPILER_VERSION VERSION_LESS 13)
    set(werror_default ON)
elseif(CMAKE_C_COMPILER_ID STREQUAL "Clang" AND CMAKE_C_COMPILER_VERSION VERSION_LESS 15)
    set(werror_default ON)
endif()
option(RUSTY_WERROR "warnings are errors" ${werror_default})
set(rusty_warnings -Wall -Wextra -Wpedantic -Wconversion -Wshadow)
if(RUSTY_WERROR)
    list(APPEND rusty_warnings -Werror)
endif()

# The same source gives the same bits: no silent fused multiply-add outside the kernels.
# Nobody reads errno after a mathematical function, nor traps: square roots may be instructions and loops vectors.
add_compile_options(-ffp-contract=off -fno-math-errno -fno-trapping-math)

if(MINGW)
    add_compile_definitions(__USE_MINGW_ANSI_STDIO=1) # %zu and %lld mean what C says
endif()

if(RUSTY_SANITIZE)
    # gcc says of this warning itself that it is wrong about instrumented code; the plain builds look.
    add_compile_options($<$<C_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
    add_compile_options(-fsanitize=${RUSTY_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    add_link_options(-fsanitize=${RUSTY_SANITIZE})
endif()
if(RUSTY_FUZZ)
    if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
        message(FATAL_ERROR "RUSTY_FUZZ needs clang (libFuzzer): configure with -DCMAKE_C_COMPILER=clang, as preset fuzz does")
    endif()
    add_compile_options(-fsanitize=fuzzer-no-link)
endif()

set(avx512_flags -mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mf16c)
set(isa_avx2 -mavx2 -mfma -mf16c)
set(isa_avx_vnni ${isa_avx2} -mavxvnni)
set(isa_avx512 ${avx512_flags})
set(isa_avx512_bf16 ${avx512_flags} -mavx512bf16)
set(isa_avx512_vnni ${avx512_flags} -mavx512vnni)
set(isa_amx ${avx512_flags} -mavx512bf16 -mamx-tile -mamx-bf16)
set(isa_neon)

# Sets the flags of the files of src/simd in the list `name`, and takes out those of other architectures.
function(rusty_isa_flags name)
    set(kept)
    foreach(file IN LISTS ${name})
        if(file MATCHES "/src/simd/[^/]*\\.c$")
            set(flags -ffp-contract=fast $<IF:$<CONFIG:Release>,-O3,-O2>)
            if(file MATCHES "_(avx2|avx_vnni|avx512|avx512_bf16|avx512_vnni|amx)\\.c$")
                set(isa ${CMAKE_MATCH_1})
                if(NOT CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
                    continue()
                endif()
                list(APPEND flags ${isa_${isa}})
            elseif(file MATCHES "_neon\\.c$" AND NOT CMAKE_SYSTEM_PROCESSOR MATCHES "^(aarch64|arm64|ARM64)$")
                continue()
            endif()
            set_source_files_properties(${file} PROPERTIES COMPILE_OPTIONS "${flags}")
        endif()
        list(APPEND kept ${file})
    endforeach()
    set(${name} ${kept} PARENT_SCOPE)
endfunction()
