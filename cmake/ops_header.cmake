# ops_header.cmake - script: writes rusty/ops.h, one documented prototype for each line of map.def.
#
# -DMAP=src/map.def  -DOUT=rusty/ops.h
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
    if(class STREQUAL "S" OR padded MATCHES "[^a-zA-Z0-9_]c[^a-zA-Z0-9_]")
        set(sources ", ry_tensor a, ry_tensor b, ry_tensor c")
    elseif(padded MATCHES "[^a-zA-Z0-9_]b[^a-zA-Z0-9_]")
        set(sources ", ry_tensor a, ry_tensor b")
    endif()
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
