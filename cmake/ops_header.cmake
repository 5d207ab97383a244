# ops_header.cmake - script: writes rusty/ops.h, one documented prototype for each line of map.def, and map_uses.h, which says
# to the preprocessor which letters each formula names (ops/map.c makes rows and builders from it).
#
# -DMAP=src/map.def  -DOUT=rusty/ops.h  -DUSES=map_uses.h
# A line is RY_MAP(name, class, lo, hi, formula, da, db, dc, "doc").  How many sources an operator has follows from the letters
# its formula uses; class S (select) has three.
file(READ ${MAP} text)
string(REGEX REPLACE "/\\*([^*]|\\*+[^*/])*\\*+/" "" text "${text}")
# CMake's lists end at semicolons and are confused by brackets: the docs' own ones stand aside while lists are used.
string(REPLACE ";" "@semicolon@" text "${text}")
string(REPLACE "[" "@open@" text "${text}")
string(REPLACE "]" "@close@" text "${text}")
string(REGEX REPLACE "\n[ \t]+" " " text "${text}")
string(REGEX MATCHALL "RY_MAP\\([^\n]*\"[ \t]*\\)" entries "${text}")
list(LENGTH entries count)
string(REGEX MATCHALL "RY_MAP\\(" starts "${text}")
list(LENGTH starts started)
if(NOT count EQUAL started)
    message(FATAL_ERROR "${MAP}: ${started} entries begin but ${count} can be read; each is RY_MAP(name, ..., \"doc\") on lines of its own")
endif()
set(lines "")
set(uses "")
foreach(entry IN LISTS entries)
    string(REGEX MATCH "^RY_MAP\\((.*),[ \t]*\"(.*)\"[ \t]*\\)$" whole "${entry}")
    set(doc "${CMAKE_MATCH_2}")
    string(REPLACE "," ";" parts "${CMAKE_MATCH_1}")
    # Commas inside parentheses do not part fields.
    set(fields)
    set(field "")
    set(depth 0)
    foreach(part IN LISTS parts)
        if(field STREQUAL "")
            set(field "${part}")
        else()
            string(APPEND field ",${part}")
        endif()
        string(REGEX MATCHALL "\\(" opened "${part}")
        string(REGEX MATCHALL "\\)" closed "${part}")
        list(LENGTH opened opened)
        list(LENGTH closed closed)
        math(EXPR depth "${depth} + ${opened} - ${closed}")
        if(depth EQUAL 0)
            string(STRIP "${field}" field)
            list(APPEND fields "${field}")
            set(field "")
        endif()
    endforeach()
    list(LENGTH fields n)
    if(NOT n EQUAL 8)
        message(FATAL_ERROR "${MAP}: ${n} fields before the doc where 8 belong: ${entry}")
    endif()
    list(GET fields 0 name)
    list(GET fields 1 class)
    list(GET fields 4 formula)
    set(padded " ${formula} ")
    set(sources ", ry_tensor a")
    set(count 1)
    if(class STREQUAL "S" OR padded MATCHES "[^a-zA-Z0-9_]c[^a-zA-Z0-9_]")
        set(sources ", ry_tensor a, ry_tensor b, ry_tensor c")
        set(count 3)
    elseif(padded MATCHES "[^a-zA-Z0-9_]b[^a-zA-Z0-9_]")
        set(sources ", ry_tensor a, ry_tensor b")
        set(count 2)
    endif()
    string(APPEND uses "#define MAP_SOURCES_${name} ${count}\n")
    set(at 4)
    foreach(form value da db dc)
        list(GET fields ${at} formula)
        math(EXPR at "${at} + 1")
        set(has 1)
        set(bits 0)
        if(formula STREQUAL "NONE" OR formula STREQUAL "ZERO")
            set(has 0)
        else()
            set(padded " ${formula} ")
            set(bit 1)
            foreach(letter a b c y g)
                if(padded MATCHES "[^a-zA-Z0-9_]${letter}[^a-zA-Z0-9_]")
                    math(EXPR bits "${bits} + ${bit}")
                endif()
                math(EXPR bit "${bit} * 2")
            endforeach()
        endif()
        string(APPEND uses "#define MAP_HAS_${name}_${form} ${has}\n#define MAP_USES_${name}_${form} ${bits}u\n")
    endforeach()
    string(APPEND lines "RY_API ry_tensor ry_${name}(ry_graph *g${sources}); /* ${doc} */\n")
endforeach()
string(REPLACE "@semicolon@" ";" lines "${lines}")
string(REPLACE "@open@" "[" lines "${lines}")
string(REPLACE "@close@" "]" lines "${lines}")
set(header
"/* ops.h - the elementwise operators, written by the build from src/map.def.  Do not edit.
 *
 * Sources broadcast as NumPy's do; a is the first, b the second, c the third.  A null source gives a null result. */
#ifndef RUSTY_OPS_H
#define RUSTY_OPS_H
#include <rusty.h>

#ifdef __cplusplus
extern \"C\" {
#endif

${lines}
#ifdef __cplusplus
}
#endif
#endif
")
file(WRITE ${OUT} "${header}")
file(WRITE ${USES}
"/* map_uses.h - what the formulas of src/map.def name, written by the build.  Do not edit.
 *
 * MAP_SOURCES_x: sources of operator x.  MAP_HAS_x_f: 1 if form f (value da db dc) is a formula.  MAP_USES_x_f: bit k is set
 * where that formula names letter k of a b c y g. */
${uses}")
