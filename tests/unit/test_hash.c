/* test_hash.c - digests against published values (FIPS 180-4 examples) and what git prints, at every length around a block's end. */
#include "base/hash.h"
#include "unit/cm.h"
#include <string.h>

static void test_sha256(void **state) {
    (void)state;
    char hex[HASH_HEX];
    hash_sha256(hex, "", 0);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    hash_sha256(hex, "abc", 3);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    const char *two = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    hash_sha256(hex, two, strlen(two));
    assert_string_equal(hex, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    static char million[1000000];
    memset(million, 'a', sizeof million);
    hash_sha256(hex, million, sizeof million);
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static void test_git_blob(void **state) {
    (void)state;
    char hex[HASH_HEX];
    hash_git_blob(hex, "", 0);
    assert_string_equal(hex, "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    hash_git_blob(hex, "hello world\n", 12);
    assert_string_equal(hex, "3b18e512dba79e4c8300dd08aeb37f8e728b8dad");
}

/* Every length from 0 to 200 gives another digest, and each a fixed chain of them: digest of all digests, as Python's hashlib gives it. */
static void test_every_length(void **state) {
    (void)state;
    char data[200], hex[HASH_HEX], all[201 * 64], git[201 * 40];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (char)(i * 7 + 1);
    for (size_t n = 0; n <= sizeof data; n++) {
        hash_sha256(hex, data, n);
        memcpy(all + 64 * n, hex, 64);
        hash_git_blob(hex, data, n);
        memcpy(git + 40 * n, hex, 40);
    }
    hash_sha256(hex, all, sizeof all);
    assert_string_equal(hex, "2e4a3cd5a1498d68dbe42f5114a172594576fa45febce02f5d6ad8863181bef0");
    hash_sha256(hex, git, sizeof git);
    assert_string_equal(hex, "7799510bcc1f84d95f8275165c74d917062b3521cbca5095d430d735bf1218c0");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sha256), cmocka_unit_test(test_git_blob), cmocka_unit_test(test_every_length)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
