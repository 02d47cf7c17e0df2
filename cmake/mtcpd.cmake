# One target per folder, with just the include paths it may use: a wrong include does not
# build. A folder's headers are included as "folder/file.h"; cmake/include-fence makes, for
# each folder, a directory that holds that folder's name alone, so that depending on one
# folder does not make its siblings visible.

set(MTCPD_WARNINGS
	-Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes
	-Wpointer-arith -Wcast-qual -Wvla -Wformat=2 -Wundef -Wno-missing-field-initializers)

set(MTCPD_SANITIZE "" CACHE STRING "Sanitizers, as -fsanitize= takes them")
option(MTCPD_COVERAGE "Count which lines and branches run (tools/coverage)" OFF)
option(MTCPD_FUZZ "Build libFuzzer targets (needs clang)" OFF)

# What a packet passes through is spread over many files, and optimized across them when a program
# is linked: that saves a tenth of the instructions. Objects hold the plain form, too, which tests
# are linked from: in a fraction of the time, and with a border at each file for --wrap.
set(lto OFF)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU" AND CMAKE_BUILD_TYPE MATCHES "^Rel" AND NOT MTCPD_SANITIZE AND
	NOT MTCPD_COVERAGE)
	set(lto ON)
endif()
option(MTCPD_LTO "Optimize daemon and client library across files (gcc)" ${lto})

# Compile options that every target of ours shares.
function(mtcpd_target_options target)
	target_compile_features(${target} PRIVATE c_std_11)
	target_compile_definitions(${target} PRIVATE _GNU_SOURCE)
	target_compile_options(${target} PRIVATE ${MTCPD_WARNINGS} -fvisibility=hidden
		-fno-strict-aliasing -fno-common -g -pthread)
	if(MTCPD_SANITIZE)
		target_compile_options(${target} PRIVATE -fsanitize=${MTCPD_SANITIZE}
			-fno-omit-frame-pointer -fno-sanitize-recover=undefined)
		target_link_options(${target} PRIVATE -fsanitize=${MTCPD_SANITIZE})
	endif()
	if(MTCPD_COVERAGE)
		if(target MATCHES "^(tcp|net)$") # what tools/coverage asks about
			target_compile_options(${target} PRIVATE --coverage -fprofile-update=atomic)
		endif()
		target_link_options(${target} PRIVATE --coverage)
	endif()
	if(MTCPD_LTO) # "-fno-lto" cannot be taken back by a later option
		target_link_options(${target} PRIVATE
			$<IF:$<BOOL:$<TARGET_PROPERTY:MTCPD_LTO_LINK>>,-flto=auto,-fno-lto>)
	endif()
endfunction()

# Of a library or program: it can be optimized across files.
function(mtcpd_lto_compile target)
	if(MTCPD_LTO)
		target_compile_options(${target} PRIVATE -O3 -flto -ffat-lto-objects
			--param=inline-unit-growth=100 --param=large-function-growth=400
			--param=max-inline-insns-auto=50)
	endif()
endfunction()

# Of a program, or a library that is loaded: it is, with all that it is linked from.
function(mtcpd_lto_link target)
	mtcpd_lto_compile(${target})
	set_target_properties(${target} PROPERTIES MTCPD_LTO_LINK ON)
endfunction()

# mtcpd_folder(NAME DEPS...): a static library from every .c file of the current folder.
# NAME is the folder's name; its headers become visible as <NAME/...> to those that
# depend on it.
function(mtcpd_folder name)
	set(fence ${CMAKE_BINARY_DIR}/fence/${name})
	file(MAKE_DIRECTORY ${fence})
	file(CREATE_LINK ${CMAKE_CURRENT_SOURCE_DIR} ${fence}/${name} SYMBOLIC)
	file(GLOB sources CONFIGURE_DEPENDS *.c)
	add_library(${name} STATIC ${sources} ${CMAKE_SOURCE_DIR}/cmake/empty.c)
	set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE ON
		ARCHIVE_OUTPUT_NAME mtcpd_${name})
	target_include_directories(${name} PUBLIC ${fence})
	mtcpd_target_options(${name})
	mtcpd_lto_compile(${name})
	target_link_libraries(${name} PUBLIC ${ARGN})
endfunction()
