# list_op_tests.cmake - script: asks test_ops for its rows and writes one add_test for each, for ctest to include; and with GPU, tests
# of several rows each on the device webgpu (one process: opening the device and compiling kernels take longer than the rows).
#
# -DPROGRAM=test_ops  -DOUT=file  -DGPU=1  -DSUPPRESSIONS=file
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

if(GPU)
    execute_process(COMMAND ${PROGRAM} --groups OUTPUT_VARIABLE groups)
    string(REGEX MATCHALL "[^\r\n]+" groups "${groups}")
    foreach(some IN LISTS groups)
        string(REGEX REPLACE " (.* )?" "-" test "${some}")
        set(test "webgpu.ops.${test}")
        string(APPEND text "add_test(${test} \"${CMAKE_COMMAND}\" \"-DPROGRAM=${PROGRAM}\" \"-DROWS=${some}\" -P \"${CMAKE_CURRENT_LIST_DIR}/run_op_tests.cmake\")\n")
        string(APPEND text "set_tests_properties(${test} PROPERTIES LABELS webgpu SKIP_REGULAR_EXPRESSION \"skipped: \" TIMEOUT 600 ENVIRONMENT \"NODEVICE_SELECT=1;LSAN_OPTIONS=suppressions=${SUPPRESSIONS}:print_suppressions=0\")\n")
    endforeach()
endif()
file(WRITE ${OUT} "${text}")
