# windows.cmake - script: compiles src/base for Windows where a mingw-w64 compiler is installed, so that os_windows.c stays true to os.h.
#
# -DROOT=source folder
cmake_minimum_required(VERSION 3.21)
find_program(compiler x86_64-w64-mingw32-gcc)
if(NOT compiler)
    message("skipped: no x86_64-w64-mingw32-gcc here (Debian: gcc-mingw-w64-x86-64)")
    return()
endif()
file(GLOB files ${ROOT}/src/base/*.c)
execute_process(COMMAND ${compiler} -std=c11 -O1 -fsyntax-only -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror
                        -D__USE_MINGW_ANSI_STDIO=1 -DRY_SHARED -I${ROOT}/src -I${ROOT}/include ${files}
                RESULT_VARIABLE result)
if(NOT result EQUAL 0)
    message(FATAL_ERROR "src/base does not compile for Windows")
endif()
