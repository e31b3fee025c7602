# The package that `cargo xtask package` makes, as a port. NOT RUN by vcpkg: capi/tests/packaging.rs runs it with stand-ins
# for vcpkg's own functions.
#
#   vcpkg install limbeck --overlay-ports=capi/packaging/vcpkg --x-cmake-args=-DLIMBECK_PACKAGE=/path/to/the/folder

if(VCPKG_TARGET_IS_OSX)
  set(system apple-darwin)
else()
  set(system unknown-linux-gnu)
endif()
if(VCPKG_TARGET_ARCHITECTURE STREQUAL "arm64")
  set(target "aarch64-${system}")
else()
  set(target "x86_64-${system}")
endif()

if(NOT DEFINED LIMBECK_PACKAGE)
  message(FATAL_ERROR "LIMBECK_PACKAGE is not set: give the folder that `cargo xtask package --target ${target}` makes, "
    "with --x-cmake-args=-DLIMBECK_PACKAGE=FOLDER")
endif()
file(STRINGS "${LIMBECK_PACKAGE}/README.md" title LIMIT_COUNT 1)
if(NOT title STREQUAL "# limbeck ${VERSION} for ${target}")
  message(FATAL_ERROR "${LIMBECK_PACKAGE} is another package than limbeck ${VERSION} for ${target}: ${title}")
endif()

# A C interface: the same for debug and release.
set(VCPKG_BUILD_TYPE release)
file(INSTALL "${LIMBECK_PACKAGE}/include" "${LIMBECK_PACKAGE}/lib" DESTINATION "${CURRENT_PACKAGES_DIR}")
# For Swift, which does not come by vcpkg.
file(REMOVE "${CURRENT_PACKAGES_DIR}/include/module.modulemap")

# vcpkg keeps files for CMake in share/PORT, one folder less deep. Both targets stay, limbeck::limbeck and
# limbeck::limbeck_static, whatever the triplet prefers.
file(MAKE_DIRECTORY "${CURRENT_PACKAGES_DIR}/share")
file(RENAME "${CURRENT_PACKAGES_DIR}/lib/cmake/limbeck" "${CURRENT_PACKAGES_DIR}/share/limbeck")
file(REMOVE_RECURSE "${CURRENT_PACKAGES_DIR}/lib/cmake")
set(config "${CURRENT_PACKAGES_DIR}/share/limbeck/limbeckConfig.cmake")
file(READ "${config}" text)
string(REPLACE "/../../.." "/../.." text "${text}")
file(WRITE "${config}" "${text}")
vcpkg_fixup_pkgconfig()

file(INSTALL "${CMAKE_CURRENT_LIST_DIR}/usage" DESTINATION "${CURRENT_PACKAGES_DIR}/share/limbeck")
vcpkg_install_copyright(FILE_LIST "${LIMBECK_PACKAGE}/LICENSE-MIT" "${LIMBECK_PACKAGE}/LICENSE-APACHE")
