/* Keys, builds and encrypted sections. KEY is the public half of what capi/tests/support/tiny.rs signs with. */

#include "check.h"

#define KEY "ea4a6c63e29c520abef5507b132ec5f9954776aebebe7b92421eea691446d22c"
#define OTHER "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"

struct cipher {
    int calls;
    int fail;
};

static int32_t decrypt(void *data, limbeck_str section, const uint8_t *stored, size_t length, limbeck_sink *sink) {
    struct cipher *cipher = (struct cipher *)data;
    size_t i;
    CHECK(holds(section, "json") || holds(section, "model.onnx.data"));
    cipher->calls++;
    if (cipher->fail) return cipher->fail;
    /* In pieces, as a stream cipher gives them. */
    for (i = 0; i < length; i++) {
        uint8_t byte = stored[i] ^ 0x5a;
        OK(limbeck_sink_write(sink, &byte, 1, &error));
    }
    OK(limbeck_sink_write(sink, NULL, 0, &error));
    return 0;
}

static limbeck_bundle_options with_keys(const limbeck_str *keys, size_t count) {
    limbeck_bundle_options options;
    limbeck_bundle_options_init(&options, sizeof options);
    options.keys = keys;
    options.key_count = count;
    return options;
}

int main(int argc, char **argv) {
    limbeck_str keys[2], signer;
    limbeck_bundle_options options;
    limbeck_model_options model_options;
    limbeck_bundle *bundle = NULL;
    limbeck_model *model = NULL;
    limbeck_result *result = NULL;
    limbeck_env *env;
    struct cipher cipher = {0, 0};
    size_t place = 99;
    char *is_signed, *hidden;
    CHECK(argc >= 3);
    env = open_env(argv[2]);
    is_signed = beside(argv[1], "signed.limbeck");
    hidden = beside(argv[1], "hidden.limbeck");
    keys[0] = str(OTHER);
    keys[1] = str(KEY);

    options = with_keys(keys, 2);
    OK(limbeck_bundle_open(is_signed, strlen(is_signed), &options, &bundle, &error));
    CHECK(limbeck_bundle_signer_count(bundle) == 1 && limbeck_bundle_signer_count(NULL) == 0);
    OK(limbeck_bundle_signer(bundle, 0, &signer, &error));
    CHECK(signer.length == 16);
    FAILS(LIMBECK_INVALID_ARGUMENT, "index is 1", limbeck_bundle_signer(bundle, 1, &signer, &error));
    OK(limbeck_bundle_verify(bundle, keys, 2, &place, &error));
    CHECK(place == 1);
    FAILS(LIMBECK_SIGNATURE, "sign", limbeck_bundle_verify(bundle, keys, 1, &place, &error));
    FAILS(LIMBECK_INVALID_ARGUMENT, "empty", limbeck_bundle_verify(bundle, NULL, 0, &place, &error));

    /* A bundle opened without keys is checked when its model is opened with some. */
    limbeck_model_options_init(&model_options, sizeof model_options);
    options = with_keys(keys, 1);
    model_options.bundle = &options;
    FAILS(LIMBECK_SIGNATURE, "sign", limbeck_model_open_bundle(env, bundle, &model_options, &model, &error));
    FAILS(LIMBECK_SIGNATURE, "sign", limbeck_model_open(env, is_signed, strlen(is_signed), &model_options, &model, &error));
    FAILS(LIMBECK_SIGNATURE, "sign", limbeck_model_open(env, argv[1], strlen(argv[1]), &model_options, &model, &error));
    options = with_keys(keys, 2);
    OK(limbeck_model_open(env, is_signed, strlen(is_signed), &model_options, &model, &error));
    limbeck_model_free(model);
    limbeck_bundle_free(bundle);

    /* Keys that are none. */
    keys[0] = str("abc");
    FAILS(LIMBECK_INVALID_ARGUMENT, "64 lower-case hex", limbeck_bundle_open(is_signed, strlen(is_signed), &options, &bundle, &error));
    options = with_keys(NULL, 1);
    FAILS(LIMBECK_NULL_POINTER, "options->keys", limbeck_bundle_open(is_signed, strlen(is_signed), &options, &bundle, &error));
    options = with_keys(keys, 0);
    FAILS(LIMBECK_INVALID_ARGUMENT, "empty", limbeck_bundle_open(is_signed, strlen(is_signed), &options, &bundle, &error));

    options = with_keys(NULL, 0);
    options.minimum_build = 8;
    FAILS(LIMBECK_ROLLBACK, "8", limbeck_bundle_open(is_signed, strlen(is_signed), &options, &bundle, &error));

    /* Encrypted sections. */
    options = with_keys(NULL, 0);
    FAILS(LIMBECK_INCOMPATIBLE, "encrypted", limbeck_bundle_open(hidden, strlen(hidden), &options, &bundle, &error));
    options.decrypt = decrypt;
    options.decrypt_data = &cipher;
    cipher.fail = -5;
    FAILS(LIMBECK_INCOMPATIBLE, "returned -5", limbeck_bundle_open(hidden, strlen(hidden), &options, &bundle, &error));
    cipher.fail = 0;
    cipher.calls = 0;
    OK(limbeck_model_open(env, hidden, strlen(hidden), &model_options, &model, &error));
    CHECK(cipher.calls == 2);
    OK(limbeck_model_classify(model, "good", 4, NULL, &result, &error));
    CHECK(is(score_of(result, 0, 0).label, "positive"));
    limbeck_result_free(result);
    limbeck_model_free(model);
    FAILS(LIMBECK_NULL_POINTER, "sink", limbeck_sink_write(NULL, NULL, 0, &error));

    free(is_signed);
    free(hidden);
    limbeck_env_free(env);
    return done();
}
