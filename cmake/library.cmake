# libhone.so and libhone.a from all rooms but the command line, and `cmake --install`:
# programs, libraries, headers, pkg-config and CMake packages, pages. Everything installed finds its neighbours by its
# own place, so a tree may be moved. ./dev package makes the Debian package and the tarball of it.
include(GNUInstallDirs)
set(objects)
foreach(room ${hone_rooms})
  list(APPEND objects $<TARGET_OBJECTS:hone_${room}>)
endforeach()
get_target_property(objects_of_kernels hone_kernels SOURCES) # registry.c and the objects of the dialects
list(FILTER objects_of_kernels INCLUDE REGEX "TARGET_OBJECTS")
set(library_uses Threads::Threads ZLIB::ZLIB PkgConfig::YAML PkgConfig::JANSSON PkgConfig::XXHASH PkgConfig::UTF8PROC PkgConfig::LZMA
  $<TARGET_NAME_IF_EXISTS:PkgConfig::TURBOJPEG> ${CMAKE_DL_LIBS} m)

add_library(hone_shared SHARED ${objects} $<TARGET_OBJECTS:hone_kernels> ${objects_of_kernels})
add_library(hone_static STATIC ${objects} $<TARGET_OBJECTS:hone_kernels> ${objects_of_kernels})
foreach(library hone_shared hone_static)
  set_target_properties(${library} PROPERTIES OUTPUT_NAME hone LINKER_LANGUAGE C)
  target_include_directories(${library} INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
endforeach()
# Only the functions of include/hone are seen, each with a version: src/libhone.map, held by tests/public_names.py.
set_target_properties(hone_shared PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR} EXPORT_NAME hone
  LINK_DEPENDS ${CMAKE_SOURCE_DIR}/src/libhone.map)
target_link_options(hone_shared PRIVATE -Wl,--version-script=${CMAKE_SOURCE_DIR}/src/libhone.map)
if(NOT HONE_SANITIZE)
  target_link_options(hone_shared PRIVATE -Wl,--no-undefined -Wl,--as-needed)
endif()
target_link_libraries(hone_shared PRIVATE ${library_uses})
target_link_libraries(hone_static INTERFACE ${library_uses})
set_target_properties(hone_static PROPERTIES EXPORT_NAME static)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/hone)
install(TARGETS hone RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS hone_shared EXPORT hone-shared LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS hone_static EXPORT hone-static ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
if(TARGET hone_cuda) # beside the library, where it is looked for
  install(TARGETS hone_cuda LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
install(DIRECTORY include/hone DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h" PATTERN "*.def")
install(DIRECTORY configs DESTINATION ${CMAKE_INSTALL_DATADIR}/hone)
install(FILES README.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY examples DESTINATION ${CMAKE_INSTALL_DOCDIR})

install(EXPORT hone-shared NAMESPACE hone:: DESTINATION ${package_dir})
install(EXPORT hone-static NAMESPACE hone:: DESTINATION ${package_dir})
include(CMakePackageConfigHelpers)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/hone-config-version.cmake COMPATIBILITY SameMinorVersion)
file(RELATIVE_PATH prefix_from_package /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
set(static_libs "-lyaml -ljansson -lxxhash -lutf8proc -llzma -lz")
if(TURBOJPEG_FOUND)
  string(APPEND static_libs " -lturbojpeg")
endif()
configure_file(cmake/hone.pc.in ${CMAKE_BINARY_DIR}/hone.pc @ONLY)
configure_file(cmake/hone-config.cmake.in ${CMAKE_BINARY_DIR}/hone-config.cmake @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/hone-config.cmake ${CMAKE_BINARY_DIR}/hone-config-version.cmake DESTINATION ${package_dir})
install(FILES ${CMAKE_BINARY_DIR}/hone.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# cpack: a tarball to unpack anywhere, and a Debian package whose dependencies dpkg-shlibdeps finds.
set(CPACK_PACKAGE_NAME hone)
set(CPACK_PACKAGE_VENDOR hone)
set(CPACK_PACKAGE_CONTACT "hone <hone@localhost>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "trains and serves image and text classifiers")
set(CPACK_GENERATOR TGZ DEB)
set(CPACK_PACKAGE_FILE_NAME hone-${PROJECT_VERSION}-${CMAKE_SYSTEM_NAME}-${CMAKE_SYSTEM_PROCESSOR})
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
include(CPack)
