/* hash.h - the digests by which downloads are checked: SHA-256, and Git's name of a blob (SHA-1).  Not for secrets. */
#ifndef RY_BASE_HASH_H
#define RY_BASE_HASH_H
#include "base/status.h"

enum { HASH_HEX = 65 }; /* room for 64 hexadecimal digits and a 0 */
/* SHA-256 (FIPS 180-4) of n bytes as 64 lower-case digits. */
void hash_sha256(char hex[HASH_HEX], const void *data, size_t n);
/* What `git hash-object` prints: SHA-1 of "blob N", a 0 and the data, as 40 digits. */
void hash_git_blob(char hex[HASH_HEX], const void *data, size_t n);
#endif
