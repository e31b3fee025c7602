/* Where a bundle may come from: a descriptor, a part of a file, a stream. */

#include "check.h"

#include <fcntl.h>
#include <unistd.h>

struct stream {
    const uint8_t *bytes;
    size_t length, at, piece;
    int64_t fail; /* returned instead of bytes once half is read, if not 0 */
};

static int64_t next(void *data, uint8_t *buffer, size_t capacity) {
    struct stream *stream = (struct stream *)data;
    size_t count = stream->length - stream->at;
    if (stream->fail && stream->at > stream->length / 2) return stream->fail;
    if (count > stream->piece) count = stream->piece;
    if (count > capacity) count = capacity;
    memcpy(buffer, stream->bytes + stream->at, count);
    stream->at += count;
    return (int64_t)count;
}

static void use(const limbeck_env *env, limbeck_bundle *bundle) {
    limbeck_model *model = NULL;
    limbeck_result *result = NULL;
    OK(limbeck_model_open_bundle(env, bundle, NULL, &model, &error));
    OK(limbeck_model_classify(model, "bad", 3, NULL, &result, &error));
    CHECK(is(score_of(result, 0, 0).label, "negative"));
    limbeck_result_free(result);
    limbeck_model_free(model);
    limbeck_bundle_free(bundle);
}

int main(int argc, char **argv) {
    limbeck_bundle_options options;
    limbeck_bundle *bundle = NULL;
    limbeck_env *env;
    struct stream stream = {NULL, 0, 0, 1000, 0};
    size_t length, offset;
    uint8_t *bytes;
    char *path;
    char name[64];
    int file;
    CHECK(argc >= 3);
    env = open_env(argv[2]);
    bytes = read_file(argv[1], &length);

    /* A whole file; the descriptor stays ours, and may go before the bundle. */
    file = open(argv[1], O_RDONLY);
    CHECK(file >= 0);
    OK(limbeck_bundle_open_fd(file, 0, 0, NULL, &bundle, &error));
    CHECK(close(file) == 0);
    use(env, bundle);

    /* Inside another file, aligned and not, as an asset in a package lies. */
    sprintf(name, "package-%ld", (long)getpid());
    path = beside(argv[1], name);
    for (offset = 64; offset <= 65; offset++) {
        file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
        CHECK(file >= 0 && lseek(file, (off_t)offset, SEEK_SET) == (off_t)offset);
        CHECK(write(file, bytes, length) == (ssize_t)length && write(file, "tail", 4) == 4);
        OK(limbeck_bundle_open_fd(file, offset, length, NULL, &bundle, &error));
        use(env, bundle);
        FAILS(LIMBECK_MALFORMED, "", limbeck_bundle_open_fd(file, offset, 0, NULL, &bundle, &error));
        FAILS(LIMBECK_INVALID_ARGUMENT, "beyond", limbeck_bundle_open_fd(file, offset, length + 5, NULL, &bundle, &error));
        FAILS(LIMBECK_INVALID_ARGUMENT, "beyond",
              limbeck_bundle_open_fd(file, UINT64_MAX, UINT64_MAX, NULL, &bundle, &error));
        CHECK(close(file) == 0);
    }
    CHECK(remove(path) == 0);
    free(path);
    FAILS(LIMBECK_INVALID_ARGUMENT, "-1", limbeck_bundle_open_fd(-1, 0, 0, NULL, &bundle, &error));
    FAILS(LIMBECK_INVALID_ARGUMENT, "descriptor 987654", limbeck_bundle_open_fd(987654, 0, 0, NULL, &bundle, &error));
    CHECK(bundle == NULL);

    /* A stream, in pieces. */
    stream.bytes = bytes;
    stream.length = length;
    OK(limbeck_bundle_open_reader(next, &stream, 0, NULL, &bundle, &error));
    use(env, bundle);
    stream.at = 0;
    stream.piece = 1;
    OK(limbeck_bundle_open_reader(next, &stream, length, NULL, &bundle, &error));
    limbeck_bundle_free(bundle);
    /* One that fails, that ends too soon, that says nonsense. */
    stream.piece = 1000;
    stream.at = 0;
    stream.fail = -77;
    FAILS(LIMBECK_IO, "returned -77", limbeck_bundle_open_reader(next, &stream, 0, NULL, &bundle, &error));
    CHECK(bundle == NULL);
    stream.at = 0;
    stream.fail = INT64_MAX;
    FAILS(LIMBECK_IO, "more than", limbeck_bundle_open_reader(next, &stream, 0, NULL, &bundle, &error));
    stream.at = 0;
    stream.fail = 0;
    stream.length = length - 1;
    FAILS(LIMBECK_TRUNCATED, "", limbeck_bundle_open_reader(next, &stream, 0, NULL, &bundle, &error));
    stream.at = 0;
    stream.length = length;
    FAILS(LIMBECK_MALFORMED, "", limbeck_bundle_open_reader(next, &stream, length + 1, NULL, &bundle, &error));
    FAILS(LIMBECK_NULL_POINTER, "read", limbeck_bundle_open_reader(NULL, NULL, 0, NULL, &bundle, &error));
    limbeck_bundle_options_init(&options, sizeof options);
    options.size_limit = 100;
    stream.at = 0;
    FAILS(LIMBECK_MALFORMED, "100", limbeck_bundle_open_reader(next, &stream, 0, &options, &bundle, &error));

    free(bytes);
    limbeck_env_free(env);
    return done();
}
