# dependencies.cmake - the libraries we use: found by pkg-config, or by header and name where there is no pkg-config.
#
# Owns rusty_dependencies (link these), rusty_have (RUSTY_HAVE_X definitions), rusty_requires (for rusty.pc and the package).

set(rusty_dependencies)
set(rusty_have)
set(rusty_requires)
find_package(PkgConfig QUIET)

# rusty_find(NAME package header library) sets NAME_target, or leaves it empty.
function(rusty_find name package header library)
    set(${name}_target "" PARENT_SCOPE)
    if(PKG_CONFIG_FOUND)
        pkg_check_modules(${name} QUIET IMPORTED_TARGET GLOBAL ${package})
        if(TARGET PkgConfig::${name})
            set(${name}_target PkgConfig::${name} PARENT_SCOPE)
            return()
        endif()
    endif()
    find_path(${name}_header_dir ${header})
    find_library(${name}_library ${library})
    mark_as_advanced(${name}_header_dir ${name}_library)
    if(${name}_header_dir AND ${name}_library)
        add_library(PkgConfig::${name} INTERFACE IMPORTED GLOBAL)
        target_include_directories(PkgConfig::${name} INTERFACE ${${name}_header_dir})
        target_link_libraries(PkgConfig::${name} INTERFACE ${${name}_library})
        set(${name}_target PkgConfig::${name} PARENT_SCOPE)
    endif()
endfunction()

macro(rusty_optional name package header library without)
    rusty_find(${name} ${package} ${header} ${library})
    if(${name}_target)
        list(APPEND rusty_dependencies ${${name}_target})
        list(APPEND rusty_have RUSTY_HAVE_${name})
        list(APPEND rusty_requires ${package})
    else()
        message(STATUS "${package} not found: ${without} (tools/setup.sh installs it)")
    endif()
endmacro()

# All of them serve io, the readers of files.
if("io" IN_LIST RUSTY_FOLDERS)
    rusty_find(JANSSON jansson jansson.h jansson)
    if(NOT JANSSON_target)
        message(FATAL_ERROR
            "jansson (JSON reader) was not found, and config.json, tokenizer.json and safetensors cannot be read without it.\n"
            "Run tools/setup.sh, or install it by hand: apt-get install libjansson-dev | dnf install jansson-devel | "
            "pacman -S jansson | brew install jansson | zypper install libjansson-devel")
    endif()
    list(APPEND rusty_dependencies ${JANSSON_target})
    list(APPEND rusty_requires jansson)
    rusty_optional(YAML yaml-0.1 yaml.h yaml "YAML files cannot be read, JSON ones can")
    rusty_optional(PCRE2 libpcre2-8 pcre2.h pcre2-8 "tokenizers that split by regular expression cannot be read")
    rusty_optional(UTF8PROC libutf8proc utf8proc.h utf8proc "tokenizers that normalise Unicode cannot be read")
    # Only its header: the library is loaded when something is downloaded (src/io/http.c).
    rusty_find(CURL libcurl curl/curl.h curl)
    if(CURL_target)
        list(APPEND rusty_have RUSTY_HAVE_CURL)
    else()
        message(STATUS "libcurl not found: models cannot be downloaded (tools/setup.sh installs it)")
    endif()
endif()
list(JOIN rusty_requires ", " rusty_pc_requires)

set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
list(APPEND rusty_dependencies Threads::Threads)
if(NOT WIN32)
    list(APPEND rusty_dependencies m ${CMAKE_DL_LIBS})
endif()
