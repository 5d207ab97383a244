# wgpu.cmake - the WebGPU library: its headers are needed to build src/device/webgpu.c and _gpu*.c, itself it is loaded when
# the program runs.
#
# Looks in RUSTY_WGPU_DIR, build/wgpu of the source folder (tools/fetch_wgpu.sh), pkg-config's wgpu-native, the system.  Adds
# RUSTY_HAVE_WGPU to rusty_have; owns rusty_wgpu_include (add as SYSTEM) and rusty_wgpu_library (a file, or empty).
# Never links it: src/device/_wgpu.c opens it by name, and a program without it only lacks that device.

set(RUSTY_WGPU_DIR "$ENV{RUSTY_WGPU_DIR}" CACHE PATH "folder with webgpu.h, wgpu.h and the library wgpu-native 29.0.1")
set(rusty_wgpu_include "")
set(rusty_wgpu_library "")
if(WIN32)
    set(rusty_wgpu_name wgpu_native.dll)
    set(wgpu_names wgpu_native.dll wgpu_native-release.dll)
elseif(APPLE)
    set(rusty_wgpu_name libwgpu_native.dylib)
    set(wgpu_names libwgpu_native.dylib libwgpu_native-release.dylib)
else()
    set(rusty_wgpu_name libwgpu_native.so)
    set(wgpu_names libwgpu_native.so libwgpu_native-release.so)
endif()

set(wgpu_places ${RUSTY_WGPU_DIR})
if(NOT RUSTY_WGPU_DIR AND NOT CMAKE_CROSSCOMPILING)
    list(APPEND wgpu_places ${PROJECT_SOURCE_DIR}/build/wgpu)
    if(PKG_CONFIG_FOUND)
        pkg_check_modules(WGPU_NATIVE QUIET wgpu-native)
        list(APPEND wgpu_places ${WGPU_NATIVE_INCLUDE_DIRS} ${WGPU_NATIVE_LIBRARY_DIRS})
    endif()
    list(APPEND wgpu_places /usr/local /usr /opt/homebrew)
endif()
set(wgpu_other "")
foreach(place IN LISTS wgpu_places)
    foreach(sub . include include/webgpu webgpu include/wgpu wgpu/resources)
        if(rusty_wgpu_include OR NOT EXISTS ${place}/${sub}/webgpu.h OR NOT EXISTS ${place}/${sub}/wgpu.h)
            continue()
        endif()
        # The structs of these headers are laid out as in 29.0.1 if they have the one and lack the other.
        file(STRINGS ${place}/${sub}/wgpu.h has REGEX "wgpuDeviceCreateShaderModuleTrusted")
        file(STRINGS ${place}/${sub}/wgpu.h newer REGEX "experimentalFeaturesEnabled")
        if(has AND NOT newer)
            get_filename_component(rusty_wgpu_include ${place}/${sub} ABSOLUTE)
        else()
            set(wgpu_other ${place}/${sub})
        endif()
    endforeach()
    foreach(sub . lib lib64 wgpu/resources)
        foreach(name IN LISTS wgpu_names)
            if(NOT rusty_wgpu_library AND EXISTS ${place}/${sub}/${name})
                get_filename_component(rusty_wgpu_library ${place}/${sub}/${name} ABSOLUTE)
            endif()
        endforeach()
    endforeach()
endforeach()

if(rusty_wgpu_include)
    list(APPEND rusty_have RUSTY_HAVE_WGPU)
    if(NOT rusty_wgpu_library)
        message(STATUS "the library wgpu-native is not here: GPUs need it when the program runs (tools/setup.sh wgpu fetches it)")
    endif()
elseif(wgpu_other)
    message(STATUS "${wgpu_other}/wgpu.h is not of wgpu-native 29.0.1: GPUs cannot be used (tools/setup.sh wgpu fetches it)")
else()
    message(STATUS "wgpu-native not found: GPUs cannot be used (tools/setup.sh wgpu fetches it)")
endif()

# Where _wgpu.c looks after RUSTY_WGPU_LIB and its program's own folder: where the library is installed with us, where it was found.
file(RELATIVE_PATH wgpu_installed /${CMAKE_INSTALL_BINDIR} /${CMAKE_INSTALL_LIBDIR}/rusty/${rusty_wgpu_name})
set_property(SOURCE ${PROJECT_SOURCE_DIR}/src/device/_wgpu.c APPEND PROPERTY COMPILE_DEFINITIONS
             RUSTY_WGPU_PATH="${rusty_wgpu_library}" RUSTY_WGPU_INSTALLED="${wgpu_installed}")

# A program that is moved takes the library along.
function(rusty_wgpu_beside target)
    if(rusty_wgpu_library)
        add_custom_command(TARGET ${target} POST_BUILD VERBATIM
            COMMAND ${CMAKE_COMMAND} -E copy_if_different ${rusty_wgpu_library} $<TARGET_FILE_DIR:${target}>/${rusty_wgpu_name})
        install(PROGRAMS ${rusty_wgpu_library} DESTINATION ${CMAKE_INSTALL_LIBDIR}/rusty RENAME ${rusty_wgpu_name})
    endif()
endfunction()
