# run.cmake - script: builds base and simd with their unit tests for another machine and runs them under an emulator.
#
# -DSOURCE=source folder  -DBUILD=folder to build in  -DTOOLCHAIN=toolchain file
cmake_minimum_required(VERSION 3.21)
include(ProcessorCount)
ProcessorCount(jobs)
execute_process(
    COMMAND ${CMAKE_COMMAND} -S ${SOURCE} -B ${BUILD} -DCMAKE_TOOLCHAIN_FILE=${TOOLCHAIN} -DRUSTY_FOLDERS=base\;simd -DRUSTY_CROSS_TESTS=ON
    RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(NOT result EQUAL 0)
    message(FATAL_ERROR "${output}")
endif()
execute_process(COMMAND ${CMAKE_COMMAND} --build ${BUILD} --parallel ${jobs} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
if(NOT result EQUAL 0)
    message(FATAL_ERROR "${output}")
endif()
execute_process(COMMAND ${CMAKE_CTEST_COMMAND} --output-on-failure --parallel ${jobs} -L cpu -LE "slow|lint" WORKING_DIRECTORY ${BUILD} RESULT_VARIABLE result)
if(NOT result EQUAL 0)
    message(FATAL_ERROR "tests failed under the emulator")
endif()
