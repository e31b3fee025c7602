/* Damaged and foreign bundles: an error with a name each time, and never a
 * model. Works on a copy in memory; the attacks folder has the large corpus. */

#include "check.h"

static limbeck_status open_bytes(const uint8_t *bytes, size_t length) {
    limbeck_bundle *bundle = (limbeck_bundle *)&not_an_error;
    limbeck_error *error = NULL;
    limbeck_status status = limbeck_bundle_open_bytes(bytes, length, NULL, &bundle, &error);
    if (status == LIMBECK_OK) {
        CHECK(bundle != NULL && error == NULL);
    } else {
        CHECK(bundle == NULL);
        CHECK(limbeck_error_code(error) == status);
        CHECK(limbeck_error_message(error).length > 10);
    }
    limbeck_bundle_free(bundle);
    limbeck_error_free(error);
    return status;
}

int main(int argc, char **argv) {
    uint8_t *bytes, *longer;
    size_t length, i, step;
    CHECK(argc >= 3);
    /* A buffer of its own size, so that a byte read too far is seen. */
    bytes = read_file(argv[1], &length);
    CHECK(open_bytes(bytes, length) == LIMBECK_OK);

    /* Cut short, anywhere. */
    step = argc > 3 ? 997 : 101;
    for (i = 0; i < length; i += step) {
        uint8_t *cut = (uint8_t *)malloc(i ? i : 1);
        limbeck_status status;
        CHECK(cut != NULL);
        memcpy(cut, bytes, i);
        status = open_bytes(cut, i);
        CHECK(status == LIMBECK_TRUNCATED || (i < 64 && status == LIMBECK_NOT_A_BUNDLE));
        free(cut);
    }

    /* One bit turned, anywhere. */
    for (i = 0; i < length; i += step) {
        limbeck_status status;
        bytes[i] ^= (uint8_t)(1u << (i % 8));
        status = open_bytes(bytes, length);
        if (status == LIMBECK_OK) fprintf(stderr, "a bit turned at byte %zu was not noticed\n", i);
        CHECK(status == LIMBECK_NOT_A_BUNDLE || status == LIMBECK_INCOMPATIBLE || status == LIMBECK_TRUNCATED ||
              status == LIMBECK_CORRUPT || status == LIMBECK_MALFORMED);
        bytes[i] ^= (uint8_t)(1u << (i % 8));
    }

    /* More than the bundle. */
    longer = (uint8_t *)malloc(length + 1);
    CHECK(longer != NULL);
    memcpy(longer, bytes, length);
    longer[length] = 0;
    CHECK(open_bytes(longer, length + 1) == LIMBECK_MALFORMED);
    free(longer);

    /* Something else. */
    CHECK(open_bytes((const uint8_t *)"PK\x03\x04 a zip file that is longer than the prefix of a bundle, by far",
                     64) == LIMBECK_NOT_A_BUNDLE);
    {
        limbeck_bundle *bundle = NULL;
        CHECK(limbeck_bundle_open_bytes(NULL, 0, NULL, &bundle, NULL) != LIMBECK_OK);
        CHECK(bundle == NULL);
        CHECK(limbeck_bundle_open(argv[0], strlen(argv[0]), NULL, &bundle, NULL) == LIMBECK_NOT_A_BUNDLE);
    }
    free(bytes);
    return done();
}
