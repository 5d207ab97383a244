# list_op_tests.cmake - script: asks test_ops for its rows and writes one add_test for each, for ctest to include.
#
# -DPROGRAM=test_ops  -DOUT=file
execute_process(COMMAND ${PROGRAM} --list OUTPUT_VARIABLE rows RESULT_VARIABLE result)
if(NOT result EQUAL 0)
    message(FATAL_ERROR "${PROGRAM} --list failed: ${result}")
endif()
string(REGEX MATCHALL "[^\r\n]+" rows "${rows}")
set(text "")
foreach(row IN LISTS rows)
    string(APPEND text "add_test(ops.${row} \"${PROGRAM}\" \"${row}\")\n")
    string(APPEND text "set_tests_properties(ops.${row} PROPERTIES LABELS cpu SKIP_RETURN_CODE 77 TIMEOUT 900)\n")
endforeach()
file(WRITE ${OUT} "${text}")
