# module_table.cmake - writes the C table of all modules of a folder from the names of its files, so that no list is edited by hand.
#
# rusty_module_table(OUT HEADER TYPE PREFIX TABLE FOLDER FILES...): each src/FOLDER/STEM.c or src/FOLDER/SUB/STEM.c exports one
# `const TYPE PREFIX_STEM`; names that start with _ export none.  The table is `TABLEs`, its length `TABLE_count`.
function(rusty_module_table out header type prefix table folder)
    set(stems)
    foreach(file IN LISTS ARGN)
        if(file MATCHES "/src/${folder}/([^/]+/)?([a-z0-9][a-zA-Z0-9_]*)\\.c$")
            list(APPEND stems ${CMAKE_MATCH_2})
        endif()
    endforeach()
    list(SORT stems)
    set(unique ${stems})
    list(REMOVE_DUPLICATES unique)
    if(NOT "${unique}" STREQUAL "${stems}")
        message(FATAL_ERROR "two files of src/${folder} have the same name; each names a module ${prefix}_<name>: ${stems}")
    endif()
    list(LENGTH stems count)
    set(declarations "")
    set(rows "")
    foreach(stem IN LISTS stems)
        string(APPEND declarations "extern const ${type} ${prefix}_${stem};\n")
        string(APPEND rows "    &${prefix}_${stem},\n")
    endforeach()
    file(CONFIGURE OUTPUT ${out} @ONLY CONTENT
"/* Every ${type} of src/${folder}, written by cmake/module_table.cmake.  Do not edit. */
#include \"${header}\"

extern const ${type} *const ${table}s[];
extern const size_t ${table}_count;
${declarations}
const ${type} *const ${table}s[] = {
${rows}    NULL,
};
const size_t ${table}_count = ${count};
")
endfunction()
