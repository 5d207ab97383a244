# embed_texts.cmake - script: writes every kernel text and committed tuning named in LIST into one C file, as bytes.
#
# -DLIST=file with one path a line  -DROOT=folder the names are relative to  -DOUT=C file
file(STRINGS ${LIST} texts)
set(arrays "")
set(rows "")
set(count 0)
foreach(path IN LISTS texts)
    file(RELATIVE_PATH name ${ROOT} ${path})
    file(SIZE ${path} size)
    file(READ ${path} hex HEX)
    string(REGEX REPLACE "(................................................................)" "\\1\n    " hex "${hex}")
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
    string(APPEND arrays "static const unsigned char text_${count}[] = { /* ${name} */\n    ${bytes}0};\n")
    string(APPEND rows "    {\"${name}\", (const char *)text_${count}, ${size}},\n")
    math(EXPR count "${count} + 1")
endforeach()
file(WRITE ${OUT}
"/* kernel_texts.c - the kernel texts and tunings of src/ops, written by cmake/embed_texts.cmake.  Do not edit. */
#include \"base/kernel_text.h\"

${arrays}
const struct ry_kernel_text ry_kernel_texts[] = {
${rows}    {0, 0, 0},
};
const size_t ry_kernel_text_count = ${count};
")
