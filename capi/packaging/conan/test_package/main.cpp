// That headers and library are found, and are of one version.

#include <limbeck.hpp>

#include <cstdio>

int main() {
    limbeck_error *error = nullptr;
    if (LIMBECK_CHECK_ABI(&error) != LIMBECK_OK) {
        std::fprintf(stderr, "%s\n", limbeck_error_message(error).data);
        limbeck_error_free(error);
        return 1;
    }
    std::printf("limbeck %s\n", limbeck_version());
    return 0;
}
