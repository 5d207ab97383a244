/* consumer.c - a program outside the tree: it is compiled against the installed headers and libraries and sees nothing else. */
#include <rusty.h>
#include <rusty/ops.h>
#include <stdio.h>
#include <string.h>

int main(void) {
    char version[32];
    snprintf(version, sizeof version, "%d.%d.%d", RY_VERSION_MAJOR, RY_VERSION_MINOR, RY_VERSION_PATCH);
    if (strcmp(ry_version(), version) != 0) {
        fprintf(stderr, "the header is of %s, the library of %s\n", version, ry_version());
        return 1;
    }
    puts(ry_version());
    return 0;
}
