# op_table.cmake - writes the C table of all op modules from the names of the files in src/ops.
#
# A file src/ops/STEM.c or src/ops/FOLDER/STEM.c exports one `const ry_op_module ry_ops_STEM`; names that start with _ export none.
function(rusty_op_table out)
    set(stems)
    foreach(file IN LISTS ARGN)
        if(file MATCHES "/src/ops/([^/]+/)?([a-z0-9][a-zA-Z0-9_]*)\\.c$")
            list(APPEND stems ${CMAKE_MATCH_2})
        endif()
    endforeach()
    list(SORT stems)
    set(unique ${stems})
    list(REMOVE_DUPLICATES unique)
    if(NOT "${unique}" STREQUAL "${stems}")
        message(FATAL_ERROR "two files of src/ops have the same name; each names a module ry_ops_<name>: ${stems}")
    endif()
    list(LENGTH stems count)
    set(declarations "")
    set(rows "")
    foreach(stem IN LISTS stems)
        string(APPEND declarations "extern const ry_op_module ry_ops_${stem};\n")
        string(APPEND rows "    &ry_ops_${stem},\n")
    endforeach()
    file(CONFIGURE OUTPUT ${out} @ONLY CONTENT
"/* op_table.c - every op module of src/ops, written by cmake/op_table.cmake.  Do not edit. */
#include \"core/op.h\"

extern const ry_op_module *const ry_op_modules[];
extern const size_t ry_op_module_count;
${declarations}
const ry_op_module *const ry_op_modules[] = {
${rows}    NULL,
};
const size_t ry_op_module_count = ${count};
")
endfunction()
